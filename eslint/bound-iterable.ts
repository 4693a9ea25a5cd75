import type { Rule, Scope } from 'eslint'
import type * as ESTree from 'estree'
import { readNames, schema } from './options.ts'
import { Readings } from './readings.ts'
import { calledName, findVariable, isFunction, nameOf, parentOf, type FunctionNode, type Node } from './syntax.ts'

/** Taken on the spot, in the context of whoever calls: nothing is handed on. */
const takers = ['fromAsync', 'next', 'return', 'throw']

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

    /** Variables on the way that is followed: a function may hand its parameter to itself. */
    const judged = new Set<Scope.Variable>()

    function check (iterable: Node): void {
      judged.clear()
      if (isHandedOn(iterable)) context.report({ node: iterable, messageId: 'unbound' })
    }

    function isHandedOn (iterable: Node): boolean {
      const { parent, child } = parentOf(iterable)
      switch (parent?.type) {
        case 'ForOfStatement': // `for await`
          return parent.right !== child
        case 'YieldExpression': // the outer generator is judged where it is handed on
          return !parent.delegate
        case 'ExpressionStatement':
          return false
        case 'MemberExpression': // `iterable.next()` is taken here
          return !takers.includes(nameOf(source, parent) ?? '')
        case 'ConditionalExpression':
          return parent.test !== child && isHandedOn(parent)
        case 'LogicalExpression':
          return isHandedOn(parent)
        case 'CallExpression':
          return isHandedToFunction(parent, child)
        case 'VariableDeclarator':
          return isVariableHandedOn(parent.id)
        default:
          return true
      }
    }

    function isHandedToFunction (call: ESTree.CallExpression & Node, argument: Node): boolean {
      if (readings.isBinding(call) || takers.includes(calledName(source, call) ?? '')) return false
      const fn = readings.functionOf(call.callee)
      if (fn === undefined || argument === call.callee) return true
      // A generator that consumes another is judged in its place.
      if (isGenerator(fn)) return isHandedOn(call)
      const parameter = fn.params[call.arguments.findIndex((given) => given === argument)]
      return parameter === undefined || isVariableHandedOn(parameter)
    }

    /** Judged by what becomes of the variable. */
    function isVariableHandedOn (variable: ESTree.Pattern): boolean {
      if (variable.type !== 'Identifier') return true
      const found = findVariable(source, variable)
      if (found === undefined || judged.has(found)) return false
      judged.add(found)
      const uses = found.references.filter((reference) => reference.isRead())
      return uses.some(({ identifier }) => isHandedOn(identifier as Node)) // ESLint gives all nodes a parent
    }

    return {
      CallExpression (node) {
        const fn = readings.functionOf(node.callee)
        if (fn !== undefined && isGenerator(fn) && readings.reads(fn)) check(node)
      },
      ObjectExpression (node) {
        const iterates = node.properties.some((property) => property.type === 'Property' && property.computed &&
          isAsyncIterator(property.key) && isFunction(property.value) && readings.reads(property.value))
        if (iterates) check(node)
      }
    }
  }
}

function isGenerator (fn: FunctionNode | undefined): boolean {
  return fn?.generator === true && fn.async === true
}

function isAsyncIterator (key: ESTree.Node): boolean {
  return key.type === 'MemberExpression' && key.property.type === 'Identifier' && key.property.name === 'asyncIterator'
}
