import t from 'tap'
import { settler } from '../support/settler.ts'
import { as, onEachDatabase } from '../support/storage-databases.ts'

onEachDatabase(t, async (t, { storage, ask }) => {
  const { user: alice } = await settler(storage, ask)
  const read = async () => await as(alice, async () => await storage.protection())

  t.test('the database is asked in the role and for the user of every other query', async (t) => {
    t.same(await read(), { role: 'threadline_app', user_id: alice.userId, row_security: 'forced', bypasses_row_security: false })
    await t.rejects(storage.protection(), { code: 'THREADLINE_NO_CONTEXT' })
  })

  t.test('one table that is protected less than the others is told', async (t) => {
    await ask('alter table threadline.usage no force row level security')
    const enabled = await read()
    await ask('alter table threadline.usage disable row level security')
    const off = await read()

    t.equal(enabled.row_security, 'enabled')
    t.equal(off.row_security, 'off')
  })
})
