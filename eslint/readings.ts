import type { SourceCode } from 'eslint'
import type * as ESTree from 'estree'
import type { Names } from './options.ts'
import { calledName, functionsAround, importOf, isFunction, nameOf, unwrap, valueOf, walk, type FunctionNode, type Node } from './syntax.ts'

/**
 * Which functions of a file read the active identity: those that call a reader, or another function of the file that does. A function
 * that is bound, or runs in an identity which somebody enters for it, does not count.
 */
export class Readings {
  readonly #source: SourceCode
  readonly #names: Names
  readonly #known = new Map<FunctionNode, boolean>()

  constructor (source: SourceCode, names: Names) {
    this.#source = source
    this.#names = names
  }

  reads (fn: FunctionNode): boolean {
    const known = this.#known.get(fn)
    if (known !== undefined) return known
    this.#known.set(fn, false) // what it calls may call it
    let found = false
    walk(this.#source, fn.body, (node) => {
      if (found) return false
      if (node.type !== 'CallExpression') return true
      if (this.#isSafe(node)) return false
      found = this.#isReading(node, fn)
      return !found
    })
    this.#known.set(fn, found)
    return found
  }

  /** The function that a name, a member of `this` or the expression itself stands for in this file. */
  functionOf (expression: ESTree.Node): FunctionNode | undefined {
    const node = unwrap(expression)
    if (isFunction(node)) return node
    if (node.type === 'Identifier') {
      const value = valueOf(this.#source, node)
      return value !== undefined && isFunction(value) ? value : undefined
    }
    return node.type === 'MemberExpression' && node.object.type === 'ThisExpression' ? this.#methodOf(node) : undefined
  }

  isBinding (node: ESTree.Node): boolean {
    return node.type === 'CallExpression' && this.#names.binders.has(calledName(this.#source, node) ?? '')
  }

  /** Whether a function that is known by its name alone counts as reading: it comes from another file of the project. */
  isSuspect (identifier: ESTree.Identifier, at: Node): boolean {
    if (!this.#names.strict) return false
    const imported = importOf(this.#source, identifier)
    return imported !== undefined && imported.module.startsWith('.') && this.#isScoped(at)
  }

  isReader (identifier: ESTree.Identifier): boolean {
    return this.#names.readers.has(importOf(this.#source, identifier)?.name ?? identifier.name)
  }

  #isReading (call: ESTree.CallExpression & Node, at: FunctionNode): boolean {
    const name = calledName(this.#source, call)
    if (name !== undefined && this.#names.readers.has(name)) return true
    const callee = unwrap(call.callee)
    if (callee.type === 'Identifier' && this.isSuspect(callee, at)) return true
    const called = this.functionOf(callee)
    return called !== undefined && this.reads(called)
  }

  #isSafe (call: ESTree.CallExpression): boolean {
    return this.isBinding(call) || this.#names.enterers.has(calledName(this.#source, call) ?? '')
  }

  /** Code is scoped that an identity is active for: what reads it, what agents and tools do, and what is configured so. */
  #isScoped (node: Node): boolean {
    return this.#names.scoped || functionsAround(node).some((fn) => this.#readsItself(fn) || this.#isDefined(fn))
  }

  #readsItself (fn: FunctionNode): boolean {
    let found = false
    walk(this.#source, fn.body, (node) => {
      if (node.type === 'CallExpression') found ||= this.#names.readers.has(calledName(this.#source, node) ?? '')
      return !found && !isFunction(node)
    })
    return found
  }

  /** The body of an agent or a tool: a property of what is given to its definer. */
  #isDefined (fn: FunctionNode): boolean {
    const property = fn.parent
    if (property.type !== 'Property' || property.parent.type !== 'ObjectExpression') return false
    const call = property.parent.parent
    return call.type === 'CallExpression' && this.#names.definers.has(calledName(this.#source, call) ?? '')
  }

  #methodOf (member: ESTree.MemberExpression & Node): FunctionNode | undefined {
    const name = nameOf(this.#source, member)
    let above: Node | null = member.parent
    while (above && above.type !== 'ClassBody') above = above.parent
    const method = above?.body.find((element) => element.type === 'MethodDefinition' && nameOf(this.#source, element) === name)
    return method?.type === 'MethodDefinition' ? method.value as FunctionNode : undefined // ESLint gives all nodes a parent
  }
}
