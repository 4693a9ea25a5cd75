import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ESLint, type Linter } from 'eslint'
import t from 'tap'
import plugin from '../../eslint/plugin.ts'

const root = join(import.meta.dirname, '../..')

async function lint (code: string, config: Linter.Config = plugin.configs.recommended): Promise<readonly (string | null)[]> {
  const eslint = new ESLint({ cwd: root, overrideConfigFile: true, overrideConfig: [config] })
  const results = await eslint.lintText(code, { filePath: 'code.js' })
  return results.flatMap(({ messages }) => messages.map(({ ruleId, message }) => ruleId ?? message))
}

const wrong = `
  async function * lines () { yield currentThread() }
  export const read = () => lines()
  emitter.on('news', () => currentThread())
  storage.enterWith({})
`

t.test('the recommended configuration reports each of the three mistakes', async (t) => {
  t.same(await lint(wrong), ['threadline/bound-iterable', 'threadline/bound-listener', 'threadline/no-enter-with'])
})

t.test('the recommended configuration holds every rule', async (t) => {
  t.same(
    Object.keys(plugin.configs.recommended.rules ?? {}).toSorted(),
    Object.keys(plugin.rules).map((name) => `threadline/${name}`).toSorted()
  )
})

t.test('options that a rule does not know are refused', async (t) => {
  const unknown: Linter.Config = { ...plugin.configs.recommended, rules: { 'threadline/bound-listener': ['error', { listeners: ['on'] }] } }

  await t.rejects(lint('', unknown), /bound-listener/)
})

interface Example { readonly rule: string, readonly kind: 'good' | 'bad', readonly code: string }

/** The blocks of code below the headings of the document, each good or bad by its first line. */
async function readExamples (): Promise<readonly Example[]> {
  const text = await readFile(join(root, 'docs/lint.md'), 'utf8')
  return text.split(/^## /m).slice(1).flatMap((section) => {
    const [, rule = ''] = /^`threadline\/([a-z-]+)`/.exec(section) ?? []
    return [...section.matchAll(/```js\n\/\/ (good|bad)[^\n]*\n([^]*?)```/g)].map(([, kind, code = '']) => (
      { rule, kind: kind === 'bad' ? 'bad' as const : 'good' as const, code }
    ))
  }).filter(({ rule }) => rule !== '')
}

t.test('docs/lint.md has a good and a bad example of each rule, and each is judged as it says', async (t) => {
  const examples = await readExamples()

  for (const rule of Object.keys(plugin.rules)) {
    const own = examples.filter((example) => example.rule === rule)
    t.same(new Set(own.map(({ kind }) => kind)), new Set(['good', 'bad']), rule)
    for (const { kind, code } of own) {
      const reported = await lint(code, { ...plugin.configs.recommended, languageOptions: { sourceType: 'module' } })
      t.same(new Set(reported), new Set(kind === 'bad' ? [`threadline/${rule}`] : []), code)
    }
  }
})
