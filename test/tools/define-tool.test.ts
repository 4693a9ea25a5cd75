import t from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../lib/tools/define-tool.ts'

const definition = { name: 'search', description: 'Searches', input: Type.Object({ query: Type.String() }), execute: () => 'found' }

t.test('a tool is its definition, frozen', async (t) => {
  const tool = defineTool({ ...definition, timeoutMs: 5, permit: () => true })

  t.match(tool, { name: 'search', description: 'Searches', timeoutMs: 5 })
  t.ok(Object.isFrozen(tool))
  t.throws(() => { Object.assign(tool, { permit: () => false }) }, TypeError)
})

t.test('a definition that is changed afterwards does not change the tool', async (t) => {
  const changing = { ...definition }
  const tool = defineTool(changing)

  changing.name = 'other'

  t.equal(tool.name, 'search')
})

t.test('a name that no model accepts is refused', async (t) => {
  for (const name of ['', ' ', 'Search', 'web-search', 'web search', '1st', '_x', 'such\n', 'suche!', 'ä', 'x'.repeat(65)]) {
    t.throws(() => defineTool({ ...definition, name }), TypeError, JSON.stringify(name))
  }
  for (const name of ['a', 'web_search_2', 'x'.repeat(64)]) t.equal(defineTool({ ...definition, name }).name, name)
})
