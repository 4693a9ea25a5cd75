import type { NewThreadEvent, RunEventType } from './events.ts'

/** Which rule of a run's story an event breaks. */
export type RunRule =
  | 'before-start' // an event of the agent or a tool before agent_started
  | 'started-twice'
  | 'after-completion' // anything after agent_completed
  | 'tool-not-executing' // tool_completed without its tool_executing, or a second one
  | 'tool-already-executing'
  | 'tool-unfinished' // completed while a tool_executing has no tool_completed
  | 'missing' // a required event never came

export interface RunViolation {
  readonly rule: RunRule
  readonly type: RunEventType
  /** A run without its end is critical: somebody waits for it. */
  readonly critical: boolean
}

type StoryEvent = Pick<NewThreadEvent, 'type' | 'payload'>

/**
 * The story that each run tells, as a state machine: `waiting` → `running` (after `agent_started`)
 * → `ended` (after `agent_completed`). In `running`, tool calls open and close in pairs, across each `agent_resumed` too: it voids the text
 * that was told before it, and nothing else. A run that was cancelled or failed while waiting ends without having started.
 */
export class RunStory {
  #state: 'waiting' | 'running' | 'ended'
  readonly #openTools: Set<string>

  /** With tool calls that are open already, or `begun`, the story of a run that somebody else has begun to tell. */
  constructor (openTools: readonly string[] = [], { begun = openTools.length > 0 } = {}) {
    this.#state = begun ? 'running' : 'waiting'
    this.#openTools = new Set(openTools)
  }

  get ended (): boolean { return this.#state === 'ended' }
  get openTools (): readonly string[] { return [...this.#openTools] }

  /** The rule that this event would break as the next one; undefined, and the story goes on, when it breaks none. */
  tell (event: StoryEvent): RunViolation | undefined {
    const rule = this.#broken(event)
    if (rule !== undefined) return { rule, type: event.type, critical: event.type === 'agent_completed' }
    this.#advance(event)
    return undefined
  }

  /**
   * The event was told and could not be kept. A tool that was announced by it is not open: the run could not end any more. One whose
   * completion was lost is open still: whoever ends the run has to tell it.
   */
  retract (event: StoryEvent): void {
    if (event.type === 'tool_executing') this.#openTools.delete(toolCallOf(event))
    if (event.type === 'tool_completed') this.#openTools.add(toolCallOf(event))
  }

  #broken (event: StoryEvent): RunRule | undefined {
    if (this.#state === 'ended') return 'after-completion'
    if (event.type === 'agent_started') return this.#state === 'running' ? 'started-twice' : undefined
    if (this.#state === 'waiting') return endsUnstarted(event) ? undefined : 'before-start'
    const tool = toolCallOf(event)
    if (event.type === 'tool_executing' && this.#openTools.has(tool)) return 'tool-already-executing'
    if (event.type === 'tool_completed' && !this.#openTools.has(tool)) return 'tool-not-executing'
    if (event.type === 'agent_completed' && this.#openTools.size > 0) return 'tool-unfinished'
    return undefined
  }

  #advance (event: StoryEvent): void {
    if (event.type === 'agent_started') this.#state = 'running'
    if (event.type === 'agent_completed') this.#state = 'ended'
    if (event.type === 'tool_executing') this.#openTools.add(toolCallOf(event))
    if (event.type === 'tool_completed') this.#openTools.delete(toolCallOf(event))
  }
}

/** What each run tells at least; a run whose agent used a tool also tells the tool's pair. */
export const requiredRunEvents = ['agent_started', 'agent_thinking', 'agent_completed'] as const
export const toolRunEvents = ['tool_executing', 'tool_completed'] as const

/** Every rule that a recorded run breaks, in order of its events; then what is missing. */
export function checkRunEvents (events: readonly StoryEvent[], options: { usesTools?: boolean } = {}): readonly RunViolation[] {
  const story = new RunStory()
  const broken = events.map((event) => story.tell(event)).filter((violation) => violation !== undefined)
  const told = new Set<string>(events.map((event) => event.type))
  const required = [...requiredRunEvents, ...(options.usesTools === true ? toolRunEvents : [])]
  const missing = required.filter((type) => !told.has(type))
    .map((type): RunViolation => ({ rule: 'missing', type, critical: type === 'agent_completed' }))
  return [...broken, ...missing]
}

function endsUnstarted (event: StoryEvent): boolean {
  return event.type === 'agent_completed' && 'status' in event.payload && event.payload.status !== 'completed'
}

function toolCallOf (event: StoryEvent): string {
  return 'tool_call_id' in event.payload ? event.payload.tool_call_id : ''
}
