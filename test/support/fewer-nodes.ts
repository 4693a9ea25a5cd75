import type { NodesOptions } from './service-nodes.ts'

type Fewer = NonNullable<NodesOptions['only']>

/** Why a test's service has fewer nodes than the cluster of the topology: the only places where a test is not about all of it. */
export const fewerNodes = {
  /** The registry of connections is of one gateway: what is registered, changed and forgotten by its methods is asked of the same one. */
  registry: { gateways: 1 },
  /** Limits of connections are exact on a gateway alone. Two that are asked in the same moment have not heard of each other's answer. */
  connectionLimit: { gateways: 1 },
  /** Slots are of one worker: who waits for one waits for its only one. */
  slots: { workers: 1 },
  /** Each worker looks for one title of a thread at a time, and the first one that is found stays. */
  titles: { workers: 1 },
  /** The moments between a gateway's goodbye and its end: on another one, they are other moments. */
  closing: { gateways: 1 },
  /** The report of a run tells what the node that is asked has sent. */
  report: { gateways: 1 },
  /** The test puts something else in the place of a part of the gateway that is asked. */
  exchanged: { gateways: 1 },
  /** What is counted, exported or watched is of one process. */
  process: { process: 1 },
  /** A data folder is one process's. */
  folder: { process: 1 }
} as const satisfies Readonly<Record<string, Fewer>>
