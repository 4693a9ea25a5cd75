import t from 'tap'
import { ThreadlineError } from '../../lib/errors.ts'
import { whileStorageIsAway } from '../../lib/gateway/storage-absence.ts'

t.test('what nobody wants any more is not tried again', async (t) => {
  let isWanted = true
  let tried = 0

  await whileStorageIsAway(() => isWanted, async () => {
    tried += 1
    isWanted = false
    throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE')
  })

  t.equal(tried, 1)
})

t.test('another failure is not waited out', async (t) => {
  let tried = 0

  await t.rejects(whileStorageIsAway(() => true, async () => {
    tried += 1
    throw new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')
  }), { code: 'THREADLINE_THREAD_NOT_FOUND' })

  t.equal(tried, 1)
})
