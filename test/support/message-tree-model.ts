/** A message of the model; `waitsFor` are the runs whose end decides what it follows. */
interface ModelMessage {
  readonly id: string
  readonly role: 'user' | 'assistant'
  readonly content: string
  parent: string | null
  waitsFor: Set<string>
  /** It was taken over from another thread, and no run has brought it. */
  readonly copied?: boolean
}

interface ModelRun {
  readonly id: string
  readonly messageId: string
  state: 'unfinished' | 'ended' | 'rolled back'
}

/**
 * What a thread's tree of messages should be, in memory: messages and runs in the order in which they came, and the head of the visible
 * branch. Each method is one thing that happens in a thread.
 */
export class MessageTreeModel {
  readonly messages: ModelMessage[] = []
  readonly runs: ModelRun[] = []
  head: string | null = null

  get userMessages (): readonly ModelMessage[] { return this.messages.filter(({ role }) => role === 'user') }
  get unfinished (): readonly ModelRun[] { return this.runs.filter(({ state }) => state === 'unfinished') }

  /** From the beginning to the head. */
  get branch (): readonly string[] {
    return [...this.#ancestors(this.head)].reverse()
  }

  /** The visible branch leads to an end, or to a message that is being answered. */
  get isWhole (): boolean {
    return this.#newestLeaf(this.head) === this.head || this.#unfinishedRunsOf(this.head).size > 0
  }

  /** From the beginning to a message, itself not included. */
  before (id: string): readonly string[] {
    return [...this.#ancestors(this.#require(id).parent)].reverse()
  }

  siblings (id: string): readonly string[] {
    const { parent, role } = this.#require(id)
    return this.messages.filter((other) => other.parent === parent && other.role === role).map((other) => other.id)
  }

  accept (id: string, runId: string, content: string, editOf?: string): void {
    const parent = editOf === undefined ? this.head : this.#require(editOf).parent
    this.messages.push({ id, role: 'user', content, parent, waitsFor: this.#unfinishedRunsOf(parent) })
    this.runs.push({ id: runId, messageId: id, state: 'unfinished' })
    this.head = id
  }

  /** The message of the user that is answered once more: the one named, or the one that it answers; undefined when there is none. */
  toAnswer (id: string | undefined): ModelMessage | undefined {
    const message = this.messages.find((one) => one.id === (id ?? this.head))
    return message?.role === 'assistant' ? this.messages.find((one) => one.id === message.parent) : message
  }

  regenerate (messageId: string, runId: string): void {
    this.runs.push({ id: runId, messageId, state: 'unfinished' })
    this.head = messageId
  }

  end (runId: string, answer?: { readonly id: string, readonly content: string }): void {
    const run = this.#settle(runId, 'ended')
    if (answer !== undefined) this.messages.push({ ...answer, role: 'assistant', parent: run.messageId, waitsFor: new Set() })
    this.#afterEnd(run)
  }

  rollBack (runId: string): void {
    const run = this.#settle(runId, 'rolled back')
    const removed = this.#require(run.messageId)
    const kept = removed.copied === true || this.runs.some(({ messageId, state }) => messageId === run.messageId && state !== 'rolled back')
    if (kept) return this.#afterEnd(run)
    this.messages.splice(this.messages.indexOf(removed), 1)
    for (const child of this.messages.filter(({ parent }) => parent === removed.id)) {
      child.parent = removed.parent
      child.waitsFor = this.#unfinishedRunsOf(child.parent, child)
    }
    if (this.head === removed.id) this.head = this.#newestLeaf(removed.parent)
  }

  /** A thread made of the way to a message, or of the visible branch; the copies have these ids. */
  fork (id: string | undefined, copies: readonly string[]): MessageTreeModel {
    const way = id === undefined ? this.branch : [...this.before(id), id]
    if (way.length !== copies.length) throw new Error(`The fork has ${copies.length} messages instead of ${way.length}`)
    const fork = new MessageTreeModel()
    for (const [index, copy] of copies.entries()) {
      const { role, content } = this.#require(way[index] ?? '')
      fork.messages.push({ id: copy, role, content, parent: fork.head, waitsFor: new Set(), copied: true })
      fork.head = copy
    }
    return fork
  }

  select (id: string): void {
    this.head = this.#newestLeaf(id)
  }

  #afterEnd (run: ModelRun): void {
    for (const message of this.messages.filter(({ waitsFor }) => waitsFor.delete(run.id) && waitsFor.size === 0)) {
      message.parent = this.messages.findLast(({ role, parent }) => role === 'assistant' && parent === message.parent)?.id ?? message.parent
    }
    if (this.#unfinishedRunsOf(this.head).size === 0) this.head = this.#newestLeaf(this.head)
  }

  #settle (runId: string, state: ModelRun['state']): ModelRun {
    const run = this.runs.find(({ id }) => id === runId)
    if (run === undefined) throw new Error('There is no such run')
    run.state = state
    return run
  }

  /** Of a message, as far as they came before another one. */
  #unfinishedRunsOf (messageId: string | null, before?: ModelMessage): Set<string> {
    const first = before === undefined ? this.runs.length : this.runs.findIndex((run) => run.messageId === before.id)
    return new Set(this.runs.slice(0, first).filter((run) => run.messageId === messageId && run.state === 'unfinished').map(({ id }) => id))
  }

  #newestLeaf (id: string | null): string | null {
    const child = this.messages.findLast(({ parent }) => parent === id)
    return child === undefined ? id : this.#newestLeaf(child.id)
  }

  * #ancestors (id: string | null): Generator<string> {
    for (let message = id === null ? undefined : this.#require(id); message !== undefined;
      message = message.parent === null ? undefined : this.#require(message.parent)) yield message.id
  }

  #require (id: string): ModelMessage {
    const message = this.messages.find((one) => one.id === id)
    if (message === undefined) throw new Error('There is no such message')
    return message
  }
}
