import type { Rule } from 'eslint'
import type * as ESTree from 'estree'
import { HandedOn } from './handed-on.ts'
import { readNames, schema } from './options.ts'
import { Readings } from './readings.ts'
import { isAsyncGenerator, isFunction, type Node } from './syntax.ts'

/** An async iterable that reads the identity is bound to it before somebody else gets it; see `docs/lint.md`. */
export const boundIterable: Rule.RuleModule = {
  meta: {
    type: 'problem',
    docs: { description: 'Require async iterables that read the identity to be bound before they are handed on', recommended: true },
    schema: [...schema],
    messages: {
      unbound: 'This iterable reads the active identity in its body, which runs in the context of whoever consumes it. Hand on bindIterable(iterable), or read the identity before and give it to the generator.'
    }
  },
  create (context) {
    const source = context.sourceCode
    const readings = new Readings(source, readNames(context))
    const handedOn = new HandedOn(source, readings)

    function check (iterable: Node): void {
      if (handedOn.isHandedOn(iterable)) context.report({ node: iterable, messageId: 'unbound' })
    }

    return {
      CallExpression (node) {
        const fn = readings.functionOf(node.callee)
        if (fn !== undefined && isAsyncGenerator(fn) && readings.reads(fn)) check(node)
      },
      ObjectExpression (node) {
        const iterates = node.properties.some((property) => property.type === 'Property' && property.computed &&
          isAsyncIterator(property.key) && isFunction(property.value) && readings.reads(property.value))
        if (iterates) check(node)
      }
    }
  }
}

function isAsyncIterator (key: ESTree.Node): boolean {
  return key.type === 'MemberExpression' && key.property.type === 'Identifier' && key.property.name === 'asyncIterator'
}
