import { readCpuTime } from './cpu-time.ts'
import { answerQuestions } from './program.ts'

export interface ServerAddress {
  /** Where its socket is. */
  readonly url: string
  /** The subprotocols that clients offer, with which they also say who they are: each client another of these, in turn. */
  readonly offers: readonly (readonly string[])[]
}

/** Makes this process a server whose CPU can be asked for. It has listened before it answers. */
export function serveMeasured (listen: () => Promise<ServerAddress>) {
  const questions = { start: listen, cpu: readCpuTime }
  answerQuestions(questions)
  return questions
}

export type MeasuredServer = ReturnType<typeof serveMeasured>
