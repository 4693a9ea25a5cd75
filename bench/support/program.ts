import { fork, type ChildProcess, type ForkOptions } from 'node:child_process'
import { once } from 'node:events'

/** What a program can be asked, by name. Input and answer are JSON. */
export type Questions = Readonly<Record<string, (input: never) => unknown>>

type AnswerOf<Question extends Questions[string]> = Awaited<ReturnType<Question>>

/** A program in a process of its own, so that its CPU and its memory are counted apart. */
export interface Program<Asked extends Questions> {
  /** Rejects with the message of what the program threw, and when it ends before it has answered. */
  ask<Name extends keyof Asked & string> (name: Name, input: Parameters<Asked[Name]>[0]): Promise<AnswerOf<Asked[Name]>>
  /** Lets it end by itself; one that does not end in time is killed. */
  end (): Promise<void>
}

interface Question { readonly id: number, readonly name: string, readonly input: unknown }
interface Answer { readonly id: number, readonly answer?: unknown, readonly error?: string }
interface Waiting { readonly resolve: (answer: never) => void, readonly reject: (error: Error) => void }

const endTimeoutMs = 15_000

/** Starts the file as a program that calls `answerQuestions`. It is killed when `signal` is aborted. */
export function startProgram<Asked extends Questions> (
  file: URL, { signal, args = [], execArgv = [] }: { signal: AbortSignal, args?: readonly string[], execArgv?: readonly string[] }
): Program<Asked> {
  const options: ForkOptions = { signal, killSignal: 'SIGKILL', execArgv: [...execArgv], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }
  const child = fork(file, args, options)
  const waiting = new Map<number, Waiting>()
  let asked = 0

  child.on('message', (message) => {
    const { id, answer, error } = message as Answer // only answerQuestions writes to this channel
    const { resolve, reject } = waiting.get(id) ?? {}
    waiting.delete(id)
    if (error === undefined) resolve?.(answer as never) // the type that the question's name promises
    else reject?.(new Error(error))
  })
  const failAll = (reason: string): void => {
    for (const { reject } of waiting.values()) reject(new Error(reason))
    waiting.clear()
  }
  child.on('error', (error) => { failAll(error.message) })
  child.on('exit', (code, killedBy) => { failAll(`${file.pathname} ended with ${killedBy ?? code}`) })

  return {
    ask<Name extends keyof Asked & string> (name: Name, input: Parameters<Asked[Name]>[0]) {
      const { promise, resolve, reject } = Promise.withResolvers<AnswerOf<Asked[Name]>>()
      asked += 1
      waiting.set(asked, { resolve, reject })
      child.send({ id: asked, name, input } satisfies Question)
      return promise
    },
    end: async () => { await end(child) }
  }
}

async function end (child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const timer = setTimeout(() => { child.kill('SIGKILL') }, endTimeoutMs)
  const exited = once(child, 'exit')
  if (child.connected) child.disconnect()
  await exited
  clearTimeout(timer)
}

/** Makes this process a program of `startProgram`. It ends when the one that started it has left. */
export function answerQuestions (questions: Questions): void {
  process.on('message', (message) => { void answerOne(questions, message as Question) }) // only startProgram writes to this channel
  process.on('disconnect', () => { process.exit(0) })
}

async function answerOne (questions: Questions, { id, name, input }: Question): Promise<void> {
  const answer = await answerTo(questions[name], id, input)
  // Without a channel there is nobody left to answer.
  if (process.connected) process.send?.(answer)
}

async function answerTo (question: Questions[string] | undefined, id: number, input: unknown): Promise<Answer> {
  try {
    return { id, answer: await question?.(input as never) } // JSON of the type that the question takes
  } catch (error) {
    return { id, error: error instanceof Error ? error.stack ?? error.message : String(error) }
  }
}
