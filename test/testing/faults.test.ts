import { readFile } from 'node:fs/promises'
import t from 'tap'
import { allFaults } from '../../testing/all-faults.ts'
import { openStage } from '../../testing/stage.ts'

// kill of each: the fault's own, applied by `npm run faults`, which shows that the witnesses then name the fault's hop.

t.test('every fault has a name of its own', async (t) => {
  t.equal(new Set(allFaults.map(({ name }) => name)).size, allFaults.length)
})

t.test('the line that each kill takes away is there, once', async (t) => {
  for (const { name, kill: { file, line } } of allFaults) {
    const source = await readFile(new URL(`../../${file}`, import.meta.url), 'utf8')
    t.equal(source.split(line).length, 2, `${name}: ${file}`)
  }
})

for (const fault of allFaults) {
  t.test(`${fault.title}: nobody is given what is another's`, async (t) => {
    const stage = await openStage(fault.stage)
    t.teardown(async () => { await stage.close() })

    const { delivered } = await fault.provoke(stage)
    const { incomplete } = await stage.verify()

    t.same(delivered, [])
    const noticed = incomplete.filter((reason) => reason.includes('The service has noticed'))
    t.same(incomplete.filter((reason) => !noticed.includes(reason)), [], 'all was seen')
    t.ok(noticed.length <= stage.violations.length, 'and what the service has noticed was refused by a witness that said so')
  })
}
