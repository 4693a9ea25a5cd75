import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { toUserId } from '../../lib/protocol/ids.ts'
import { createStorage } from '../../lib/storage/open-storage.ts'
import { messageOf } from './storage-databases.ts'

// A process that opens a data folder, accepts a message of `alice`, says so in one line, and stays until it is killed. One that
// cannot open the folder says why and ends.
const [dataFolder] = process.argv.slice(2)
try {
  const storage = await createStorage({ dataFolder })
  const message = messageOf({ content: 'Hello before the crash' })
  const { runId, thread } = await enterThread(createIdentity({ userId: toUserId('alice') }), async () => await storage.runs.accept(message))
  process.stdout.write(`${JSON.stringify({ runId, threadId: thread.thread_id, epoch: storage.epoch })}\n`)
} catch (error) {
  process.stdout.write(`${JSON.stringify(error)}\n`)
}
