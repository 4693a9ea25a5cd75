import { streamText } from 'ai'
import { bindIterable } from '../context/bind.ts'
import type { Logger } from '../context/logger.ts'
import { isThreadlineError, ThreadlineError } from '../errors.ts'
import type { LanguageModel } from '../models/model-registry.ts'
import { readTitle, titleRequest, type Exchange } from '../models/title-request.ts'
import type { ThreadView } from '../protocol/events.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { AccountStore } from '../stores/account-store.ts'
import type { RunRecord } from '../stores/run-record.ts'
import type { ThreadStore } from '../stores/thread-store.ts'
import { withChatSpan } from './chat-span.ts'
import type { EndedRun } from './ended-runs.ts'
import { Slots } from './slots.ts'

/**
 * Gives threads their titles, by a model and beside the runs: at most four at once, and what is more than 64 waiting is left without. Nobody
 * waits for it, and whatever fails in it is only logged.
 */
export interface TitleGenerator {
  /**
   * Takes up a completed run of a thread's beginning, in the identity and trace of that run, unless that thread's title is being looked for.
   * A thread that has a title keeps it; one that gets none is tried again after the next run of its beginning.
   */
  consider (ended: EndedRun): void
  /** Live state, which is all zero when no title is being looked for. */
  readonly load: { readonly working: number, readonly waiting: number }
  /** Takes up nothing more, aborts what is going on, and resolves when that has ended. */
  close (): Promise<void>
}

export interface TitleGeneratorOptions {
  readonly model: LanguageModel
  /** What the model threw, as an error that may be logged. */
  readonly toModelError: (error: unknown) => ThreadlineError
  readonly threads: Pick<ThreadStore, 'require' | 'suggestTitle'>
  readonly account: Pick<AccountStore, 'recordUsage'>
  readonly timeoutMs: number
  readonly logger: Logger
  /** Called in the identity of the run once the title is stored. */
  readonly titled: (thread: ThreadView) => void
}

const maxAtOnce = 4
const maxWaiting = 64
const maxOutputTokens = 32
/** A thread that has more messages before a run is not at its beginning any more. */
const beginningMessages = 6

export function createTitleGenerator (options: TitleGeneratorOptions): TitleGenerator {
  const { logger } = options
  const slots = new Slots(maxAtOnce)
  const closing = new AbortController()
  const working = new Map<ThreadId, Promise<void>>()
  let overflowing = false

  async function title (run: RunRecord, answer: string): Promise<void> {
    try {
      const release = await slots.acquire(closing.signal)
      try {
        await suggestTitle(run, answer, options, closing.signal)
      } finally {
        release()
      }
    } catch (err) {
      if (!closing.signal.aborted) logger.warn({ err }, 'a thread was given no title')
    }
  }

  return {
    consider ({ run, status, content, messagesBefore = 0 }) {
      const { threadId } = run
      if (status !== 'completed' || content === undefined || messagesBefore > beginningMessages) return
      if (closing.signal.aborted || working.has(threadId)) return
      if (slots.waiting >= maxWaiting) {
        if (!overflowing) logger.warn({ waiting: slots.waiting }, 'threads are given no titles, since too many wait')
        overflowing = true
        return
      }
      overflowing = false
      working.set(threadId, title(run, content).finally(() => { working.delete(threadId) }))
    },

    get load () { return { working: slots.taken, waiting: slots.waiting } },

    async close () {
      closing.abort(new ThreadlineError('THREADLINE_SHUTTING_DOWN'))
      await Promise.all(working.values())
    }
  }
}

async function suggestTitle (
  { runId, threadId, input }: RunRecord, answer: string, options: TitleGeneratorOptions, signal: AbortSignal
): Promise<void> {
  const { threads, account, titled } = options
  if (!await lacksTitle(options, threadId)) return
  const { text, ...usage } = await askForTitle({ message: input, answer }, options, signal)
  await account.recordUsage({ runId, threadId, ...usage })
  const title = readTitle(text)
  if (title === '') throw new ThreadlineError('THREADLINE_MODEL_FAILED', 'The model gave no title')
  const thread = await threads.suggestTitle(threadId, title)
  if (thread !== undefined) titled(thread)
}

async function lacksTitle ({ threads }: TitleGeneratorOptions, threadId: ThreadId): Promise<boolean> {
  try {
    return (await threads.require(threadId)).title === null
  } catch (err) {
    if (isThreadlineError(err, 'THREADLINE_THREAD_NOT_FOUND')) return false
    throw err
  }
}

interface TitleAnswer { text: string, model: string, inputTokens: number, outputTokens: number }

/** Throws the model's failure as a `ThreadlineError`, and `THREADLINE_TIMED_OUT` when it takes too long. */
async function askForTitle (exchange: Exchange, options: TitleGeneratorOptions, closing: AbortSignal): Promise<TitleAnswer> {
  const { model, toModelError, timeoutMs } = options
  const limit = new AbortController()
  const timer = setTimeout(() => { limit.abort(new ThreadlineError('THREADLINE_TIMED_OUT')) }, timeoutMs)
  const signal = AbortSignal.any([closing, limit.signal])
  const result = streamText({
    model: withChatSpan(model),
    ...titleRequest(exchange),
    maxOutputTokens,
    maxRetries: 0,
    abortSignal: signal,
    telemetry: { isEnabled: false },
    onError: () => {} // the stream has the error too, and there it is handled
  })
  const answer: TitleAnswer = { text: '', model: model.modelId, inputTokens: 0, outputTokens: 0 }
  try {
    for await (const part of bindIterable(result.stream)) {
      if (part.type === 'error') throw part.error
      if (part.type === 'text-delta') answer.text += part.text
      if (part.type === 'finish-step') answer.model = part.response.modelId
      if (part.type === 'finish') {
        answer.inputTokens = part.totalUsage.inputTokens ?? 0
        answer.outputTokens = part.totalUsage.outputTokens ?? 0
      }
    }
    signal.throwIfAborted()
    return answer
  } catch (error) {
    throw signal.aborted ? signal.reason : toModelError(error)
  } finally {
    clearTimeout(timer)
  }
}
