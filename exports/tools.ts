/** What `threadline/tools` offers to whoever writes a tool. */
export { defineTool, type Tool, type ToolCall } from '../lib/tools/define-tool.ts'
