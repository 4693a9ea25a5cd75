/** What has to be put away when something is over, for work that no test runner watches. */
export class Teardowns {
  readonly #fns: (() => Promise<void> | void)[] = []

  teardown (fn: () => Promise<void> | void): void {
    this.#fns.push(fn)
  }

  /** Puts everything away, what came last first. Resolves with what went wrong there. */
  async run (): Promise<readonly string[]> {
    const problems: string[] = []
    for (let fn = this.#fns.pop(); fn !== undefined; fn = this.#fns.pop()) {
      try {
        await fn()
      } catch (error) {
        problems.push(`not put away: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    return problems
  }
}
