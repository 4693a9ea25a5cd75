import t from 'tap'
import { testIsolation } from '../../testing/test-isolation.ts'
import { carelessCode } from '../support/careless-code.ts'

// kill of the agent with a module variable: the lockstep does each step as it comes. Of the plugin with one: the gathering lets each go on as it comes.
// kill of the agent with enterWith: nothing is compared after the first part of a step. Of the one that never ends: what goes on is not remembered.
for (const { title, subject, options, told } of carelessCode) {
  t.test(`${title} is caught`, async (t) => {
    const report = await testIsolation(subject, { users: 2, ...options })

    t.notOk(report.passed)
    t.ok(report.problems.some((problem) => told.test(problem)), report.problems.join('\n'))
  })
}
