/** What `threadline/agents` offers to whoever writes an agent. */
export {
  defineAgent, type Agent, type AgentInput, type AgentOutput, type CodeAgent, type ConversationMessage
} from '../lib/agents/define-agent.ts'
