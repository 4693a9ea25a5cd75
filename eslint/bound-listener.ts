import type { Rule } from 'eslint'
import type * as ESTree from 'estree'
import { readNames, schema } from './options.ts'
import { Readings } from './readings.ts'
import { calledName, isFunction, nameOf, unwrap, valueOf, type Node } from './syntax.ts'

/** A listener that reads the identity is bound to it; see `docs/lint.md`. */
export const boundListener: Rule.RuleModule = {
  meta: {
    type: 'problem',
    docs: { description: 'Require listeners that read the identity to be bound to it', recommended: true },
    schema: [...schema],
    messages: {
      unbound: 'This listener reads the active identity, but is called in the context of whoever emits: in nobody\'s, or in another user\'s. Hand over bindThread(listener), or read the identity before and let the listener use what was read.'
    }
  },
  create (context) {
    const source = context.sourceCode
    const names = readNames(context)
    const readings = new Readings(source, names)

    function check (handed: ESTree.Node, at: Node): void {
      const listener = unwrap(handed)
      if (isUnbound(listener, at)) context.report({ node: listener, messageId: 'unbound' })
    }

    function isUnbound (listener: Node, at: Node): boolean {
      if (readings.isBinding(listener)) return false
      if (listener.type === 'ObjectExpression') return listener.properties.some((property) => isUnboundHandler(property, at))
      const fn = readings.functionOf(listener)
      if (fn !== undefined) return readings.reads(fn)
      if (listener.type !== 'Identifier' || valueOf(source, listener) !== undefined) return false
      return readings.isReader(listener) || readings.isSuspect(listener, at)
    }

    /** `addEventListener` takes an object as well. */
    function isUnboundHandler (property: ESTree.ObjectExpression['properties'][number], at: Node): boolean {
      return property.type === 'Property' && nameOf(source, property) === 'handleEvent' && isUnbound(unwrap(property.value), at)
    }

    return {
      CallExpression (node) {
        if (!names.methods.has(calledName(source, node) ?? '') || !isRegistration(node)) return
        for (const argument of node.arguments) if (argument.type !== 'SpreadElement') check(argument, node)
      },
      AssignmentExpression (node) {
        if (node.left.type !== 'MemberExpression' || !/^on[a-z]+$/.test(nameOf(source, node.left) ?? '')) return
        if (isFunction(unwrap(node.right)) || unwrap(node.right).type === 'Identifier') check(node.right, node)
      }
    }
  }
}

/** `on` and `once` without an object are names for many things. */
function isRegistration ({ callee }: ESTree.CallExpression): boolean {
  const called = unwrap(callee)
  return called.type === 'MemberExpression' || (called.type === 'Identifier' && called.name !== 'on' && called.name !== 'once')
}
