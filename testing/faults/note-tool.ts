import { Type } from 'typebox'
import { currentThread } from '../../lib/context/current-thread.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'

/** A tool that says for whom it was called, and with what. */
export const noteTool = defineTool({
  name: 'note',
  description: 'Keeps a note',
  input: Type.Object({ text: Type.String() }),
  execute: ({ text }) => ({ noted: text, by: currentThread().userId })
})
