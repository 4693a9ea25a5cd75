import type { ThreadlineEvent } from './threadline-event.ts'

/**
 * What one run has answered so far, read from its events in their order. What it told before it went on in another process is void; its end
 * has the whole answer. Events of other runs change nothing.
 */
export class RunText {
  readonly #runId: string
  #text: string

  /** With what `active_runs` says of the run, where a client comes in the middle. */
  constructor (runId: string, text = '') {
    this.#runId = runId
    this.#text = text
  }

  get text (): string { return this.#text }

  read (event: ThreadlineEvent): void {
    if (event.run_id !== this.#runId) return
    if (event.type === 'agent_delta') this.#text += event.payload.text
    if (event.type === 'agent_resumed') this.#text = ''
    if (event.type === 'agent_completed') this.#text = event.payload.content ?? ''
  }
}
