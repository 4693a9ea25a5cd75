import { RuleTester as EslintTester, type Rule } from 'eslint'
import { RuleTester as OxlintTester } from 'oxlint/plugins-dev'

interface Test {
  test (title: string, fn: () => Promise<void>): unknown
}

type RuleOptions = Readonly<Record<string, boolean | string[]>>

export interface GoodCode { readonly name: string, readonly code: string, readonly options?: readonly RuleOptions[] }
/** How often the one message of the rule is reported. */
export interface BadCode extends GoodCode { readonly reports?: number }

export interface RuleCases {
  readonly messageId: string
  readonly good: readonly GoodCode[]
  readonly bad: readonly BadCode[]
}

/** Runs a rule's cases by the testers of ESLint and of oxlint; those of the second list, in TypeScript, by oxlint's, which reads it. */
export function testRule (t: Test, name: string, rule: Rule.RuleModule, javascript: RuleCases, typescript: Omit<RuleCases, 'messageId'>): void {
  for (const Tester of [EslintTester, OxlintTester]) {
    Tester.describe = (_title: string, fn: () => void) => { fn() }
    Tester.it = (title: string, fn: () => void) => { void t.test(title, async () => { fn() }) }
  }
  new EslintTester({ languageOptions: { ecmaVersion: 'latest', sourceType: 'module' } })
    .run(name, rule, toTests(javascript, 'ESLint', 'case.js'))
  const oxlint = new OxlintTester({ eslintCompat: true })
  // Oxlint's types of a rule are its own; it takes ESLint's.
  const sameRule = rule as unknown as Parameters<typeof oxlint.run>[1]
  oxlint.run(name, sameRule, toTests(javascript, 'oxlint', 'case.js'))
  oxlint.run(name, sameRule, toTests({ ...javascript, ...typescript }, 'oxlint, TypeScript', 'case.ts'))
}

function toTests ({ messageId, good, bad }: RuleCases, tool: string, filename: string) {
  const common = ({ name, code, options }: GoodCode) => ({
    name: `${name} (${tool})`, code, filename, ...(options === undefined ? {} : { options: [...options] })
  })
  return {
    valid: good.map(common),
    invalid: bad.map((example) => ({ ...common(example), errors: Array.from({ length: example.reports ?? 1 }, () => ({ messageId })) }))
  }
}
