import type { Rule, Scope, SourceCode } from 'eslint'
import type * as ESTree from 'estree'

/** A node with its parent, as a rule sees it. */
export type Node = Rule.Node
export type FunctionNode = (ESTree.FunctionDeclaration | ESTree.FunctionExpression | ESTree.ArrowFunctionExpression) & Rule.NodeParentExtension

/** TypeScript's additions and parentheses, which say nothing at run time. */
const wrappers: readonly string[] = [
  'TSAsExpression', 'TSSatisfiesExpression', 'TSNonNullExpression', 'TSTypeAssertion', 'TSInstantiationExpression',
  'ParenthesizedExpression', 'ChainExpression'
]

export function isFunction (node: ESTree.Node | undefined): node is FunctionNode {
  return node?.type === 'FunctionDeclaration' || node?.type === 'FunctionExpression' || node?.type === 'ArrowFunctionExpression'
}

export function isAsyncGenerator (fn: FunctionNode): boolean {
  return fn.generator === true && fn.async === true
}

/** What is inside of type assertions, parentheses and optional chains. */
export function unwrap (node: ESTree.Node): Node {
  const { expression } = node as { expression?: ESTree.Node } // each of the wrappers has it
  return wrappers.includes(node.type) && expression !== undefined ? unwrap(expression) : node as Node // ESLint gives all nodes a parent
}

/** The nearest node above that says something at run time, and the node below it on the way. */
export function parentOf (node: Node): { readonly parent: Node | undefined, readonly child: Node } {
  let child = node
  let parent: Node | null | undefined = node.parent
  while (parent && wrappers.includes(parent.type)) {
    child = parent
    parent = parent.parent
  }
  return { parent: parent ?? undefined, child }
}

/** The functions around a node, innermost first. */
export function functionsAround (node: Node): readonly FunctionNode[] {
  const found: FunctionNode[] = []
  for (let above: Node | null = node.parent; above; above = above.parent) if (isFunction(above)) found.push(above)
  return found
}

/** Calls `visit` for the node and all below it, until it returns false for one, whose children are then left out. */
export function walk (source: SourceCode, node: ESTree.Node, visit: (node: Node) => boolean): void {
  if (!visit(node as Node)) return
  for (const key of source.visitorKeys[node.type] ?? []) {
    const below = (node as unknown as Readonly<Record<string, unknown>>)[key] // the key is one of the node's own
    for (const child of Array.isArray(below) ? below : [below]) if (isNode(child)) walk(source, child, visit)
  }
}

function isNode (value: unknown): value is ESTree.Node {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}

export function findVariable (source: SourceCode, identifier: ESTree.Identifier): Scope.Variable | undefined {
  for (let scope: Scope.Scope | null = source.getScope(identifier); scope !== null; scope = scope.upper) {
    const variable = scope.set.get(identifier.name)
    if (variable !== undefined) return variable
  }
  return undefined
}

/** What a `const`, or a function's name, stands for; undefined for everything that may change or comes from elsewhere. */
export function valueOf (source: SourceCode, identifier: ESTree.Identifier): Node | undefined {
  const [definition, ...more] = findVariable(source, identifier)?.defs ?? []
  if (definition === undefined || more.length > 0) return undefined
  if (definition.type === 'FunctionName') return definition.node as Node // the declaration itself
  if (definition.type !== 'Variable' || definition.parent.kind !== 'const' || definition.node.id.type !== 'Identifier') return undefined
  return definition.node.init ? unwrap(definition.node.init) : undefined
}

/** The module that a name comes from, and its name there. */
export function importOf (source: SourceCode, identifier: ESTree.Identifier): { readonly module: string, readonly name: string } | undefined {
  const definition = findVariable(source, identifier)?.defs[0]
  if (definition?.type !== 'ImportBinding') return undefined
  const { node, parent } = definition
  const module = String(parent.source.value)
  if (node.type !== 'ImportSpecifier') return { module, name: node.type === 'ImportDefaultSpecifier' ? 'default' : '*' }
  return { module, name: node.imported.type === 'Identifier' ? node.imported.name : String(node.imported.value) }
}

/** A string that is known without running anything. */
export function textOf (source: SourceCode, wrapped: ESTree.Node): string | undefined {
  const node = unwrap(wrapped)
  switch (node.type) {
    case 'Literal':
      return typeof node.value === 'string' ? node.value : undefined
    case 'TemplateLiteral':
      return node.expressions.length === 0 ? node.quasis[0]?.value.cooked ?? undefined : undefined
    case 'BinaryExpression': {
      const [left, right] = [textOf(source, node.left), textOf(source, node.right)]
      return node.operator === '+' && left !== undefined && right !== undefined ? left + right : undefined
    }
    case 'Identifier': {
      const value = valueOf(source, node)
      return value === undefined || value.type === 'Identifier' ? undefined : textOf(source, value)
    }
    default:
      return undefined
  }
}

/** The name of a member (`a.name`, `a['name']`) or of a property in an object or a pattern. */
export function nameOf (source: SourceCode, node: ESTree.MemberExpression | ESTree.Property | ESTree.AssignmentProperty | ESTree.MethodDefinition): string | undefined {
  const key = node.type === 'MemberExpression' ? node.property : node.key
  if (node.computed) return textOf(source, key)
  if (key.type === 'Identifier') return key.name
  return key.type === 'PrivateIdentifier' ? `#${key.name}` : textOf(source, key)
}

/** The name by which something is called: that under which it was imported, or its last one (`a.b.name()`). */
export function calledName (source: SourceCode, call: ESTree.CallExpression | ESTree.NewExpression): string | undefined {
  const callee = unwrap(call.callee)
  if (callee.type === 'MemberExpression') return nameOf(source, callee)
  if (callee.type !== 'Identifier') return undefined
  const imported = importOf(source, callee)
  return imported === undefined || imported.name === 'default' ? callee.name : imported.name
}
