import { startService, type TestService } from './start-service.ts'

/** A service that is killed and started again, each time on the same storage. */
export class MortalService {
  readonly #start: () => Promise<TestService>
  #running: Promise<TestService>

  constructor (t: Parameters<typeof startService>[0], env: Readonly<Record<string, string>>) {
    this.#start = () => startService(t, env, { group: true })
    this.#running = this.#start()
  }

  /** The service that runs, or will. It is another promise as soon as that one is about to be killed. */
  get running (): Promise<TestService> { return this.#running }

  /** Kills the service, with its database or before it, and starts it again. */
  async kill (options: { whole: boolean }): Promise<void> {
    const service = await this.#running
    this.#running = service.kill('SIGKILL', options).then(this.#start)
    await this.#running
  }
}
