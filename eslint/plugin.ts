import type { ESLint, Linter } from 'eslint'
import { boundIterable } from './bound-iterable.ts'
import { boundListener } from './bound-listener.ts'
import { noEnterWith } from './no-enter-with.ts'

/**
 * Rules for code that runs under an ambient identity, told in `docs/lint.md`. For ESLint 9 and newer, `configs.recommended` is a flat
 * configuration; for oxlint the plugin is named in `jsPlugins`.
 */
const plugin = {
  meta: { name: 'threadline', namespace: 'threadline' },
  rules: {
    'no-enter-with': noEnterWith,
    'bound-listener': boundListener,
    'bound-iterable': boundIterable
  },
  configs: { recommended: {} as Linter.Config } // filled below: it names the plugin itself
} satisfies ESLint.Plugin

plugin.configs.recommended = {
  name: 'threadline/recommended',
  plugins: { threadline: plugin },
  rules: {
    'threadline/no-enter-with': 'error',
    'threadline/bound-listener': 'error',
    'threadline/bound-iterable': 'error'
  }
}

export default plugin
