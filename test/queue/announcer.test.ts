import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Announcer } from '../../lib/queue/announcer.ts'

t.test('what is announced is said at once, what follows is one word more, and nothing is left out', async (t) => {
  const said: number[] = []
  const twice = Promise.withResolvers<void>()
  const announcer = new Announcer(() => {
    said.push(performance.now())
    if (said.length === 2) twice.resolve()
  }, 50)

  for (let count = 0; count < 100; count += 1) announcer.announce()
  t.equal(said.length, 1)
  const waiting = delay(5_000) // the announcer's own timer keeps no process alive
  await Promise.race([twice.promise, waiting])

  t.equal(said.length, 2)
  const [first = 0, second = 0] = said
  t.ok(second - first >= 45, `${second - first} ms between them`)
  announcer.close()
})

t.test('what was still to be said when it closes is said then, once', (t) => {
  let said = 0
  const announcer = new Announcer(() => { said += 1 }, 60_000)

  announcer.announce()
  announcer.announce()
  announcer.close()
  announcer.close()

  t.equal(said, 2)
  t.end()
})
