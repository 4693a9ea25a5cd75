import { currentThread, enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { newConnectionId, newRunId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { listenWithFastify } from '../support/fastify-sockets.ts'
import { serveMeasured } from '../support/measured-server.ts'

const userId = toUserId('alice')
const threadId = newThreadId()
const connectionId = newConnectionId()
const reads = 3

/** Each message enters an identity of its own, with a new request and a new run, which is read three times. */
serveMeasured(async () => await listenWithFastify((socket, data) => {
  const identity = createIdentity({ userId, threadId, connectionId, runId: newRunId(threadId) })
  enterThread(identity, () => {
    for (let read = 0; read < reads; read += 1) {
      if (currentThread().userId !== userId) throw new Error('This is somebody else')
    }
    socket.send(data, { binary: false })
  })
}))
