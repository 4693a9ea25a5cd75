import t from 'tap'
import { newThreadId } from '../../lib/protocol/ids.ts'
import { settler } from '../support/settler.ts'
import { as, messageOf, onEachDatabase } from '../support/storage-databases.ts'

const readable = ['threads', 'messages', 'runs', 'run_events', 'run_steps', 'approvals', 'usage']
const tables = [...readable, 'tickets', 'message_windows']
const ofTheSystem = ['secrets']

onEachDatabase(t, async (t, { storage, ask, askAs }) => {
  const { user: alice, run: hers } = await settler(storage, ask)
  const { user: bob, run: his } = await settler(storage, ask)

  t.test('every table is protected, also from its owner', async (t) => {
    // kill: leave a table out of `tables` in lib/storage/migrations/0002-row-level-security.ts, or `protect` in 0010-shared-state.ts
    const rows = await ask<{ relname: string, enabled: boolean, forced: boolean }>(`
      select relname, relrowsecurity as enabled, relforcerowsecurity as forced from pg_class
      where relnamespace = 'threadline'::regnamespace and relkind in ('r', 'p') and relname not like 'kysely%'`)

    t.same(rows.map(({ relname }) => relname).toSorted(), [...tables, ...ofTheSystem].toSorted())
    t.ok(rows.every(({ enabled, forced }) => enabled && forced))
  })

  t.test('a query that names no owner finds the rows of the active user, and without the policy those of everybody', async (t) => {
    // kill: make the policy's condition `true` in lib/storage/migrations/0002-row-level-security.ts
    for (const table of readable) {
      const owners = (rows: readonly { user_id?: unknown }[]) => new Set(rows.map((row) => row.user_id))
      const all = `select user_id from threadline.${table}`

      t.same(owners(await askAs('threadline_app', alice.userId, all)), new Set([alice.userId]), table)
      const unprotected = await askAs('threadline_app', alice.userId, all, `alter table threadline.${table} disable row level security`)
      t.ok(owners(unprotected).has(bob.userId), `${table}: the policy is what protects`)
    }
  })

  t.test('without an identity a query raises, also on an empty table', async (t) => {
    // kill: let `threadline.current_user_id` return null instead of raising
    for (const table of readable) {
      for (const [user, before] of [[undefined], [''], [undefined, `truncate threadline.${table} cascade`]] as const) {
        const asked = askAs('threadline_app', user, `select * from threadline.${table}`, before)
        await t.rejects(asked, { code: 'TL001' }, `${table}, ${user === '' ? 'with an empty user' : before ?? 'without a user'}`)
      }
    }
  })

  t.test('a row cannot be written for somebody else, nor given away', async (t) => {
    // kill: leave out `with check` and make `using` true for inserts, in lib/storage/migrations/0002-row-level-security.ts
    const asBob = async (text: string) => await askAs('threadline_app', bob.userId, text)
    const thread = (owner: string) => `insert into threadline.threads (thread_id, user_id) values (gen_random_uuid(), '${owner}')`

    await t.resolves(asBob(thread(bob.userId)))
    await t.rejects(asBob(thread(alice.userId)), { message: /row-level security/ })
    await t.rejects(asBob(`update threadline.threads set user_id = '${alice.userId}'`), { message: /permission denied/ })
    t.same(await asBob(`update threadline.threads set title = 'his' where thread_id = '${hers.threadId}' returning title`), [])
  })

  t.test('a query that deletes and names no owner deletes the rows of the active user', async (t) => {
    // kill: make the policy's condition `true` in lib/storage/migrations/0002-row-level-security.ts
    for (const user of [alice, bob]) await as(user, async () => await storage.threads.create(newThreadId(), { title: 'Empty' }))

    for (const table of tables) {
      const which = table === 'threads' ? "where title = 'Empty'" : ''
      const rows = await askAs('threadline_app', bob.userId, `delete from threadline.${table} ${which} returning user_id`)
      t.same(new Set(rows.map((row) => row['user_id'])), new Set([bob.userId]), table)
    }
  })

  t.test('a row of a thread cannot have another owner than the thread', async (t) => {
    // kill: let the foreign key of `messages` name the thread alone, in lib/storage/migrations/0001-tables.ts
    const intruding = askAs('threadline_app', bob.userId, `
      insert into threadline.messages (thread_id, message_id, user_id, run_id, turn, role, content)
      values ('${hers.threadId}', gen_random_uuid(), '${bob.userId}', '${his.runId}', 1, 'user', 'hello')`)

    await t.rejects(intruding, { message: /foreign key/ })
  })

  t.test('a message cannot follow one of another thread', async (t) => {
    // kill: leave `messages_parent_fkey` out of lib/storage/migrations/0006-conversations.ts
    const following = askAs('threadline_app', bob.userId, `
      update threadline.messages set parent_id = '${hers.messageId}' where thread_id = '${his.threadId}'`)

    await t.rejects(following, { message: /messages_parent_fkey/ })
  })

  t.test('the role of the system sees unfinished runs and tickets, and changes tickets, leases and no more', async (t) => {
    // kill: grant it select on threads, or leave the status out of the policy `unfinished_runs`
    const asSystem = async (text: string) => await askAs('threadline_system', undefined, text)

    for (const table of readable.filter((name) => name !== 'runs')) {
      await t.rejects(asSystem(`select * from threadline.${table}`), { message: /permission denied/ }, table)
    }
    for (const text of ["update threadline.runs set status = 'queued'", 'delete from threadline.runs', 'insert into threadline.tickets default values']) {
      await t.rejects(asSystem(text), { message: /permission denied/ }, text)
    }
    const statuses = await asSystem('select distinct status from threadline.runs')
    t.same(statuses, [{ status: 'running' }])
  })

  t.test('the role of the system renews leases of running runs, and changes nothing else of any run', async (t) => {
    // kill: leave the status out of the policy `leases`, or grant the system `update` on all columns, in lib/storage/migrations/0010-queue.ts
    const queued = messageOf()
    await as(alice, async () => await storage.runs.accept(queued))
    const change = async (text: string) => await askAs('threadline_system', undefined, `update threadline.runs set ${text} returning run_id`)

    t.same(new Set((await change('lease_until = now()')).map((row) => row['run_id'])), new Set([hers.runId, his.runId]))
    for (const column of ['signature', 'worker', 'stop_reason', 'user_id', 'error']) {
      await t.rejects(change(`${column} = 'x'`), { message: /permission denied/ }, column)
    }
    await t.rejects(change('attempt = attempt + 1'), { message: /permission denied/ })
    await t.rejects(askAs('threadline_app', alice.userId, "update threadline.runs set signature = 'x'"), { message: /permission denied/ }, 'nor does a user sign')
  })

  t.test('the key that nodes sign with, and the windows of others, are not read by the role that works for users', async (t) => {
    // kill: grant `threadline_app` select on `secrets`, or make the condition of `own_windows` true, in lib/storage/migrations/0010-shared-state.ts
    const asAlice = async (text: string) => await askAs('threadline_app', alice.userId, text)
    await storage.signingKey()

    for (const text of ['select * from threadline.secrets', 'delete from threadline.secrets', 'select counts from threadline.message_windows']) {
      await t.rejects(asAlice(text), { message: /permission denied/ }, text)
    }
    await t.rejects(asAlice("insert into threadline.message_windows values ('x', 1, 1, '{}', now())"), { message: /permission denied/ })
    t.same(await asAlice('select user_id from threadline.message_windows'), [{ user_id: alice.userId }])
    for (const change of ["update threadline.secrets set value = ''", 'delete from threadline.secrets']) {
      await t.rejects(askAs('threadline_system', undefined, change), { message: /permission denied/ }, change)
    }
  })

  t.test('the role of the system finds where threads stand, which are deleted and whose events are how old, and nothing in them', async (t) => {
    // kill: grant more columns in lib/storage/migrations/0009-retention.ts or 0010-shared-state.ts
    const asSystem = async (text: string) => await askAs('threadline_system', undefined, text)
    const deleted = newThreadId()
    await as(alice, async () => await storage.threads.create(deleted))
    await as(alice, async () => { await storage.threads.remove(deleted) })

    t.same(await asSystem('select thread_id, user_id, last_sequence from threadline.threads where deleted'), [{ thread_id: deleted, user_id: alice.userId, last_sequence: 0 }])
    for (const column of ['title', 'metadata', 'updated_at', 'search', 'head_message_id']) {
      await t.rejects(asSystem(`select ${column} from threadline.threads`), { message: /permission denied/ }, column)
    }
    for (const column of ['body', 'type', 'run_id', 'event_id']) {
      await t.rejects(asSystem(`select ${column} from threadline.run_events`), { message: /permission denied/ }, column)
    }
    for (const table of readable) await t.rejects(asSystem(`delete from threadline.${table}`), { message: /permission denied/ }, table)
  })

  t.test('tickets can be issued and not read by the role that works for users', async (t) => {
    // kill: grant it select on tickets, in lib/storage/migrations/0002-row-level-security.ts
    for (const columns of ['*', 'secret_hash', 'token_expires_at', 'expires_at']) {
      await t.rejects(askAs('threadline_app', alice.userId, `select ${columns} from threadline.tickets`), { message: /permission denied/ }, columns)
    }
  })

  t.test('neither role can log in, get around the policies or take another role', async (t) => {
    const roles = await ask(`
      select rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb from pg_roles
      where rolname in ('threadline_app', 'threadline_system')`)
    const none = { rolcanlogin: false, rolsuper: false, rolbypassrls: false, rolcreaterole: false, rolcreatedb: false }

    t.same(roles, [none, none])
  })
})
