import t from 'tap'
import assistant from '../../agents/assistant.ts'
import echo from '../../agents/echo.ts'
import { builtinTools } from '../../lib/tools/builtin-tools.ts'
import { noteTool } from '../../testing/faults/note-tool.ts'
import type { IsolationSubject } from '../../testing/isolation/subject.ts'
import { assertIsolated, IsolationError, testIsolation } from '../../testing/test-isolation.ts'
import { carelessCode } from '../support/careless-code.ts'

const careful: Readonly<Record<string, IsolationSubject>> = {
  'an agent in code': echo,
  'an agent that a model drives': assistant,
  'a tool': noteTool,
  ...Object.fromEntries(builtinTools.map((tool) => [`the tool ${tool.name}`, tool])),
  'a plugin that does nothing': async () => {}
}

for (const [title, subject] of Object.entries(careful)) {
  t.test(`${title} that keeps its users apart passes`, async (t) => {
    const report = await testIsolation(subject, { users: 2 })

    t.same(report.problems, [])
    t.ok(report.passed)
    t.equal(report.runs, 20, 'four threads write in five rounds')
  })
}

t.test('whoever wants an error is told all problems in one', async (t) => {
  const [first] = carelessCode
  t.ok(first)
  if (first === undefined) return

  const error: unknown = await assertIsolated(first.subject, { users: 2 }).then(() => undefined, (reason: unknown) => reason)

  t.type(error, IsolationError)
  t.match(error, { message: /^last-visitor does not keep its users apart:\n- /, report: { passed: false } })
})
