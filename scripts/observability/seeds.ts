import type { Kill } from '../../testing/fault.ts'
import type { TestService } from '../../test/support/start-service.ts'
import type { RuleId } from '../../verify/rules/rule.ts'
import { scenarios } from './scenarios.ts'

/** A service that runs without one of its lines, what users do with it, and what the verifier has to say of that. */
export interface Seed {
  readonly rule: RuleId
  /** Where it has to be found. */
  readonly hop: string
  /** What else may be found, as `CTX… at …`. */
  readonly also?: readonly string[]
  readonly kill: Kill
  readonly play: (service: TestService) => Promise<unknown>
}

const useTool = scenarios['tools-over-sockets']

export const seeds: readonly Seed[] = [
  {
    rule: 'CTX001',
    hop: 'registry',
    kill: {
      what: 'the span of the registry',
      file: 'lib/agents/agent-registry.ts',
      line: "    create: (name) => withHop('registry', { attributes: { [attributes.agentName]: name.slice(0, 64) } }, () => {",
      becomes: '    create: (name) => ((fn: () => AgentInstance) => fn())(() => {'
    },
    play: useTool
  },
  {
    rule: 'CTX002',
    hop: 'tool',
    kill: {
      what: 'the identity on the spans of tools',
      file: 'lib/context/hop.ts',
      line: '...identityAttributes(currentIdentity()), ',
      becomes: "...(hop === 'tool' ? {} : identityAttributes(currentIdentity())), "
    },
    play: useTool
  },
  {
    rule: 'CTX003',
    hop: 'tool',
    kill: {
      what: 'that a child of a request keeps its thread',
      file: 'lib/context/child-request.ts',
      line: 'enterWithin(createChildIdentity(currentIdentity(), operation, data), fn)',
      becomes: "enterWithin({ ...createChildIdentity(currentIdentity(), operation, data), threadId: '01a20000-0000-7000-8000-000000000000' as never }, fn)"
    },
    play: useTool
  },
  {
    rule: 'CTX004',
    hop: 'tool',
    kill: {
      what: 'that what is entered within a request keeps its user',
      file: 'lib/context/current-thread.ts',
      line: '  return context.with(contextOf(identity, context.active()), fn)',
      becomes: "  return context.with(contextOf({ ...identity, userId: 'somebody-else' as never }, context.active()), fn)"
    },
    play: useTool
  },
  {
    rule: 'CTX005',
    hop: 'tool',
    kill: {
      what: 'that a child of a request keeps its run',
      file: 'lib/context/child-request.ts',
      line: 'enterWithin(createChildIdentity(currentIdentity(), operation, data), fn)',
      becomes: "enterWithin({ ...createChildIdentity(currentIdentity(), operation, data), runId: 'run_01a20000-0000-7000-8000-000000000000' as never }, fn)"
    },
    play: useTool
  },
  {
    rule: 'CTX006',
    hop: 'emitter',
    kill: {
      what: 'that spans of agents are exported',
      file: 'lib/telemetry/span-queue.ts',
      line: '      if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return',
      becomes: "      if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0 || span.name.startsWith('invoke_agent')) return"
    },
    play: useTool
  },
  {
    rule: 'CTX007',
    hop: 'socket.send',
    kill: {
      what: 'that an event goes to those who are in its thread',
      file: 'lib/gateway/subscriptions.ts',
      line: "      if (this.#offer(connection, event, frame)) delivery = 'delivered'",
      becomes: "      for (const any of [...this.#audiences.values()].flatMap(({ connections }) => [...connections])) sendAsHop(any, event, () => any.write(event, frame))\n" +
        '      void connection'
    },
    play: async (service) => {
      const [here, there] = [await service.connect('stray-ann'), await service.connect('stray-ann')]
      await there.chat('here', { agent: 'echo' })
      const { thread_id: thread } = await here.ask({ type: 'user_message', payload: { content: 'not for there', agent: 'echo' } })
      await there.until('agent_completed', (event) => event.thread_id === thread)
      await here.close()
      await there.close()
    }
  },
  {
    rule: 'CTX008',
    hop: 'emitter',
    kill: {
      what: "the span of a run's last event",
      file: 'lib/emitter/emitter.ts',
      line: "      if (type !== 'agent_delta') return log.appendAsHop(type, payload, step)",
      becomes: "      if (type !== 'agent_delta' && type !== 'agent_completed') return log.appendAsHop(type, payload, step)"
    },
    play: useTool
  },
  {
    rule: 'CTX009',
    hop: 'engine',
    kill: {
      what: 'that baggage goes to the hosts of a list alone',
      file: 'lib/telemetry/outgoing-baggage.ts',
      line: '  if (!hosts.has(target.hostname) &&',
      becomes: '  if (hosts.size < 0 &&'
    },
    play: async (service) => {
      const socket = await service.connect('fetching-ann')
      await socket.chat(`${service.url}/health/live`, { agent: 'fetching' })
      await socket.close()
    }
  },
  {
    rule: 'CTX010',
    hop: 'http.request',
    // The parent that the client claims is in no trace; and it is a link as well, of which Jaeger's first API tells nothing but the link.
    also: ['CTX006 at http.request'],
    kill: {
      what: 'that no trace begins where a client says',
      file: 'lib/telemetry/outgoing-propagator.ts',
      line: '    extract: (context) => context,',
      becomes: '    extract: (context, carrier, getter) => traceContext.extract(context, carrier, getter),'
    },
    play: async (service) => {
      for (const user of ['claimed-ann', 'claimed-ben']) {
        const headers = { authorization: `Bearer ${await service.token(user)}`, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }
        const answer = await fetch(`${service.url}/v1/threads`, { headers })
        if (!answer.ok) throw new Error(await answer.text())
      }
    }
  }
]
