import type { Fault, Observation } from './fault.ts'
import { openStage } from './stage.ts'

/** Switches the fault on in a server of its own, and gathers what its users and the witnesses say. Throws when the fault could not be produced. */
export async function observeFault (fault: Fault): Promise<Observation> {
  const stage = await openStage(fault.stage)
  try {
    const provoked = await fault.provoke(stage)
    const { findings } = await stage.verify()
    return { fault: fault.name, ...provoked, violations: [...stage.violations], findings }
  } finally {
    await stage.close()
  }
}
