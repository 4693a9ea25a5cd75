/**
 * Node can turn for ever in its last cleanup (`Environment::CleanupHandles`) when connections were reset in the middle of something, as a proxy that breaks
 * does. So a process that has such a proxy ends by itself as soon as nothing is left to do; the exit code stays what it is.
 */
let isLeaving = false
process.on('beforeExit', () => {
  if (isLeaving) process.exit()
  isLeaving = true
  setImmediate(() => {}) // whoever else waits for this moment has had it
})
