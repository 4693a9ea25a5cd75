import type { Rule } from 'eslint'
import { calledName, nameOf, textOf, unwrap } from './syntax.ts'

const forbidden = 'enterWith'

/** No `AsyncLocalStorage.enterWith`, by whatever name it is reached; see `docs/lint.md`. */
export const noEnterWith: Rule.RuleModule = {
  meta: {
    type: 'problem',
    docs: { description: 'Disallow `enterWith`, which leaks an identity to whatever runs next', recommended: true },
    schema: [],
    messages: {
      leaks: 'enterWith changes the context of everything that runs after it, in the caller as well. Enter with a function: storage.run(store, fn), context.with(context, fn).'
    }
  },
  create (context) {
    const source = context.sourceCode
    return {
      MemberExpression (node) {
        if (nameOf(source, node) === forbidden) context.report({ node: node.property, messageId: 'leaks' })
      },
      'ObjectPattern > Property' (node: Rule.Node) {
        if (node.type === 'Property' && nameOf(source, node) === forbidden) context.report({ node: node.key, messageId: 'leaks' })
      },
      CallExpression (node) {
        const callee = unwrap(node.callee)
        const [, name] = node.arguments
        const isReflective = callee.type === 'MemberExpression' && callee.object.type === 'Identifier' && callee.object.name === 'Reflect'
        if (!isReflective || calledName(source, node) !== 'get' || name === undefined) return
        if (textOf(source, name) === forbidden) context.report({ node: name, messageId: 'leaks' })
      }
    }
  }
}
