import type { Scope, SourceCode } from 'eslint'
import type * as ESTree from 'estree'
import type { Readings } from './readings.ts'
import { calledName, findVariable, isAsyncGenerator, nameOf, parentOf, type Node } from './syntax.ts'

/** Taken on the spot, in the context of whoever calls: nothing is handed on. */
const takers = ['fromAsync', 'next', 'return', 'throw']

/** Follows an async iterable to where it is consumed, or given away. */
export class HandedOn {
  readonly #source: SourceCode
  readonly #readings: Readings
  /** Variables on the way that is followed: a function may hand its parameter to itself. */
  readonly #judged = new Set<Scope.Variable>()

  constructor (source: SourceCode, readings: Readings) {
    this.#source = source
    this.#readings = readings
  }

  /** Whether somebody else gets it, unbound. */
  isHandedOn (iterable: Node): boolean {
    this.#judged.clear()
    return this.#follow(iterable)
  }

  #follow (iterable: Node): boolean {
    const { parent, child } = parentOf(iterable)
    switch (parent?.type) {
      case 'ForOfStatement': // `for await`
        return parent.right !== child
      case 'YieldExpression': // the outer generator is judged where it is handed on
        return !parent.delegate
      case 'ExpressionStatement':
        return false
      case 'MemberExpression': // `iterable.next()` is taken here
        return !takers.includes(nameOf(this.#source, parent) ?? '')
      case 'ConditionalExpression':
        return parent.test !== child && this.#follow(parent)
      case 'LogicalExpression':
        return this.#follow(parent)
      case 'CallExpression':
        return this.#isHandedToFunction(parent, child)
      case 'VariableDeclarator':
        return this.#isVariableHandedOn(parent.id)
      default:
        return true
    }
  }

  #isHandedToFunction (call: ESTree.CallExpression & Node, argument: Node): boolean {
    if (this.#readings.isBinding(call) || takers.includes(calledName(this.#source, call) ?? '')) return false
    const fn = this.#readings.functionOf(call.callee)
    if (fn === undefined || argument === call.callee) return true
    // A generator that consumes another is judged in its place.
    if (isAsyncGenerator(fn)) return this.#follow(call)
    const parameter = fn.params[call.arguments.findIndex((given) => given === argument)]
    return parameter === undefined || this.#isVariableHandedOn(parameter)
  }

  /** Judged by what becomes of the variable. */
  #isVariableHandedOn (variable: ESTree.Pattern): boolean {
    if (variable.type !== 'Identifier') return true
    const found = findVariable(this.#source, variable)
    if (found === undefined || this.#judged.has(found)) return false
    this.#judged.add(found)
    const uses = found.references.filter((reference) => reference.isRead())
    return uses.some(({ identifier }) => this.#follow(identifier as Node)) // ESLint gives all nodes a parent
  }
}
