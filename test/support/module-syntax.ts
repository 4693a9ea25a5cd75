import { parse } from '@babel/parser'
import { traverseFast, type Node, type Program } from '@babel/types'

/** One mention of another module: an import, a re-export, a type import, a worker's file. */
export interface ModuleReference {
  readonly specifier: string
  /** The reference leaves no trace at run time. `import { type A }` does: it still loads the module. */
  readonly typeOnly: boolean
  readonly line: number
}

export interface Mention {
  readonly name: string
  readonly line: number
}

/** What the architecture is judged by, read from the syntax tree and not from the text. */
export interface ModuleSyntax {
  readonly references: readonly ModuleReference[]
  /** Every identifier, and every string that could stand for one: `hooks['enterWith']`. */
  readonly mentions: readonly Mention[]
  /** What is constructed or extended, by the name it was imported under. */
  readonly constructions: readonly Mention[]
  /** The file has no code of its own, or re-exports everything of another. */
  readonly isBarrel: boolean
}

/** Reads TypeScript or JavaScript. Throws a SyntaxError with the path for a file that is neither. */
export function readModuleSyntax (path: string, source: string): ModuleSyntax {
  const { program } = parse(source, { sourceType: 'module', sourceFilename: path, plugins: ['typescript'] })
  const references: ModuleReference[] = []
  const mentions: Mention[] = []
  const constructions: Mention[] = []
  const importedNames = readImportedNames(program)

  traverseFast(program, (node) => {
    const line = node.loc?.start.line ?? 0
    const reference = readReference(node)
    if (reference !== undefined) references.push({ ...reference, line })
    const mentioned = node.type === 'Identifier' ? node.name : readText(node)
    if (mentioned !== undefined) mentions.push({ name: mentioned, line })
    const constructed = readConstructed(node)
    if (constructed !== undefined) constructions.push({ name: importedNames.get(constructed) ?? constructed, line })
  })

  return { references, mentions, constructions, isBarrel: isBarrel(program) }
}

function readReference (node: Node): Omit<ModuleReference, 'line'> | undefined {
  switch (node.type) {
    case 'ImportDeclaration':
      return { specifier: node.source.value, typeOnly: node.importKind === 'type' }
    case 'ExportAllDeclaration':
    case 'ExportNamedDeclaration':
      return node.source ? { specifier: node.source.value, typeOnly: node.exportKind === 'type' } : undefined
    case 'TSImportType':
      return { specifier: node.source.value, typeOnly: true }
    case 'TSExternalModuleReference':
      return { specifier: node.expression.value, typeOnly: false }
    case 'TSModuleDeclaration':
      return node.id.type === 'StringLiteral' ? { specifier: node.id.value, typeOnly: true } : undefined
    case 'ImportExpression':
      return asReference(readText(node.source))
    case 'CallExpression':
      return isResolver(node.callee) ? asReference(readText(node.arguments[0])) : undefined
    case 'NewExpression':
      return readFileUrl(node)
    default:
      return undefined
  }
}

function asReference (specifier: string | undefined): Omit<ModuleReference, 'line'> | undefined {
  return specifier === undefined ? undefined : { specifier, typeOnly: false }
}

/** `require` and `import.meta.resolve`. */
function isResolver (callee: Node): boolean {
  if (callee.type === 'Identifier') return callee.name === 'require'
  return callee.type === 'MemberExpression' && callee.object.type === 'MetaProperty' &&
    callee.property.type === 'Identifier' && callee.property.name === 'resolve'
}

/** `new URL('./worker.ts', import.meta.url)`: the file that a worker thread starts with. */
function readFileUrl (node: Node & { type: 'NewExpression' }): Omit<ModuleReference, 'line'> | undefined {
  if (node.callee.type !== 'Identifier' || node.callee.name !== 'URL') return undefined
  const specifier = readText(node.arguments[0])
  return specifier !== undefined && /^\.{1,2}\/.*\.[cm]?[jt]s$/.test(specifier) ? asReference(specifier) : undefined
}

function readText (node: Node | undefined): string | undefined {
  if (node?.type === 'StringLiteral') return node.value
  if (node?.type === 'TemplateLiteral' && node.expressions.length === 0) return node.quasis[0]?.value.cooked ?? undefined
  return undefined
}

function readConstructed (node: Node): string | undefined {
  if (node.type === 'NewExpression') return readLastName(node.callee)
  if (node.type === 'ClassDeclaration' || node.type === 'ClassExpression') return node.superClass ? readLastName(node.superClass) : undefined
  return undefined
}

function readLastName (node: Node): string | undefined {
  if (node.type === 'Identifier') return node.name
  if (node.type !== 'MemberExpression') return undefined
  return node.property.type === 'Identifier' && !node.computed ? node.property.name : readText(node.property)
}

/** Local names to the names they were imported under. */
function readImportedNames (program: Program): ReadonlyMap<string, string> {
  const names = new Map<string, string>()
  for (const statement of program.body) {
    if (statement.type !== 'ImportDeclaration') continue
    for (const specifier of statement.specifiers) {
      if (specifier.type !== 'ImportSpecifier') continue
      const { imported } = specifier
      names.set(specifier.local.name, imported.type === 'Identifier' ? imported.name : imported.value)
    }
  }
  return names
}

function isBarrel ({ body }: Program): boolean {
  if (body.some((statement) => statement.type === 'ExportAllDeclaration')) return true
  const passesOn = body.filter((statement) => statement.type === 'ExportNamedDeclaration' && !statement.declaration)
  const imports = body.filter((statement) => statement.type === 'ImportDeclaration')
  return passesOn.length > 0 && passesOn.length + imports.length === body.length
}
