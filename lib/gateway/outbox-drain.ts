/** Lets others wait until nothing of what was written is left in this process, because it was taken or never will be. */
export class OutboxDrain {
  readonly #isDrained: () => boolean
  #waiting: PromiseWithResolvers<void> | undefined

  constructor (isDrained: () => boolean) {
    this.#isDrained = isDrained
  }

  drained (): Promise<void> {
    if (this.#isDrained()) return Promise.resolve()
    this.#waiting ??= Promise.withResolvers()
    return this.#waiting.promise
  }

  /** To be called whenever something was given to the operating system, or cannot be any more. */
  readonly check = (): void => {
    if (this.#waiting !== undefined && this.#isDrained()) this.end()
  }

  /** The client is gone: nobody waits any longer. */
  end (): void {
    this.#waiting?.resolve()
    this.#waiting = undefined
  }
}
