export interface Gates {
  /** Resolves once the gate of this name is open. */
  readonly passed: (name: string) => Promise<void>
  /** For whoever comes to it, before or after. */
  readonly open: (name: string) => void
}

/** Gates that are closed until somebody opens them. */
export function createGates (): Gates {
  const gates = new Map<string, PromiseWithResolvers<void>>()
  const gateOf = (name: string): PromiseWithResolvers<void> => {
    const gate = gates.get(name) ?? Promise.withResolvers<void>()
    gates.set(name, gate)
    return gate
  }
  return {
    passed: (name) => gateOf(name).promise,
    open: (name) => { gateOf(name).resolve() }
  }
}
