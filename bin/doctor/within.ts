/** What `work` resolves with, or a rejection when it takes longer. The work itself has limits of its own and ends some time. */
export async function within<T> (limitMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(new Error(`There was no answer within ${limitMs} ms`)) }, limitMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
