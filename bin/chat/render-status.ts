import type { ClientStatus } from '../../client/threadline-client.ts'
import { colourOf, type Paint } from './paint.ts'
import { oneLine, shortId } from './printable.ts'

/** RFC 6455: no close frame came, so the number says nothing. */
const abnormal = 1006

/** What became of the connection, as a line; undefined for what needs none. Why it ended for good is told last of all, elsewhere. */
export function renderStatus (status: ClientStatus, user: string, paint: Paint): string | undefined {
  switch (status.state) {
    case 'connecting':
    case 'closed':
      return undefined
    case 'ready': return renderReady(status, user, paint)
    case 'reconnecting': {
      const { attempt, closeCode, reason, delayMs } = status
      const why = reason === '' ? String(closeCode) : closeCode === abnormal ? oneLine(firstSentence(reason), 80) : `${closeCode} ${oneLine(reason, 60)}`
      const what = attempt === 1 ? 'the connection is lost' : 'still no connection'
      return paint('yellow', `○ ${what} (${why}); trying again in ${(delayMs / 1000).toFixed(1)} s`)
    }
  }
}

/** What to do about it was said when the chat began, or is not for who is chatting. */
const firstSentence = (text: string): string => text.split('. ', 1)[0] ?? text

function renderReady (
  { threadId, reconnected, missed }: Extract<ClientStatus, { state: 'ready' }>, user: string, paint: Paint
): string {
  const where = threadId === null ? 'no thread yet' : `thread ${paint(colourOf(threadId), shortId(threadId))}`
  if (!reconnected) return `${paint('green', '●')} ${paint('bold', oneLine(user, 32))} is connected · ${where} · /help lists the commands`
  const gap = missed === 0 ? '' : missed === null ? ' · /history shows what happened meanwhile' : ` · ${missed} events were missed and follow`
  return `${paint('green', '●')} connected again · ${where}${gap}`
}
