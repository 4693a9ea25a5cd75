import type { ClientStatus } from '../../client/threadline-client.ts'
import { colourOf, type Paint } from './paint.ts'
import { oneLine, shortId } from './printable.ts'

/** What became of the connection, as a line; undefined for what needs none. Why it ended for good is told last of all, elsewhere. */
export function renderStatus (status: ClientStatus, user: string, paint: Paint): string | undefined {
  switch (status.state) {
    case 'connecting':
    case 'closed':
      return undefined
    case 'ready': return renderReady(status, user, paint)
    case 'reconnecting': {
      const { closeCode, reason, delayMs } = status
      const why = `${closeCode}${reason === '' ? '' : ` ${oneLine(reason)}`}`
      return paint('yellow', `○ the connection is lost (${why}); trying again in ${(delayMs / 1000).toFixed(1)} s`)
    }
  }
}

function renderReady (
  { threadId, reconnected, missed }: Extract<ClientStatus, { state: 'ready' }>, user: string, paint: Paint
): string {
  const where = threadId === null ? 'no thread yet' : `thread ${paint(colourOf(threadId), shortId(threadId))}`
  if (!reconnected) return `${paint('green', '●')} ${paint('bold', oneLine(user, 32))} is connected · ${where} · /help lists the commands`
  const gap = missed === 0 ? '' : missed === null ? ' · /history shows what happened meanwhile' : ` · ${missed} events were missed, /history shows what came of them`
  return `${paint('green', '●')} connected again · ${where}${gap}`
}
