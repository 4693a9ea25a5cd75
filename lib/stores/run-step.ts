/**
 * A part of a run that has been done: what a model has said in one step, what a tool has found. Stored together with the event that it is handed
 * in with, so both or neither. Gone when the run ends. `body` is JSON.
 */
export interface RunStep {
  readonly key: string
  readonly body: unknown
}
