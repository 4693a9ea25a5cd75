import { posix } from 'node:path'
import { findPlace, isFree, refuseImport } from './layers.ts'
import { readModuleSyntax, type ModuleReference, type ModuleSyntax } from './module-syntax.ts'

export interface SourceFile {
  /** From the root of the repository, with `/`. */
  readonly path: string
  readonly source: string
}

export type Rule = 'place' | 'layer' | 'fastify' | 'barrel' | 'enter-with' | 'async-local-storage'

export interface Violation {
  readonly rule: Rule
  readonly path: string
  readonly line: number
  readonly message: string
}

/** What holds ambient state. One of them in the whole product, and in this folder, or there are two truths about who is served. */
const storageNames = ['AsyncLocalStorage', 'AsyncLocalStorageContextManager']
const storageFolder = 'lib/context/'

/** The rule against it, and the faults that show what it does. */
const namingEnterWith = ['eslint/', 'testing/faults/']

/** Without Fastify these still run: the library, and what stands beside the server. */
const withoutFastify = ['lib/', 'agents/', 'client/', 'verify/', 'eslint/']

/** Everything in `files` that breaks the architecture, in the order of the files. Tests are judged by nothing but their place. */
export function findViolations (files: readonly SourceFile[]): readonly Violation[] {
  const modules = files
    .filter(({ path }) => !path.startsWith('test/'))
    .map(({ path, source }) => ({ path, syntax: readModuleSyntax(path, source) }))
  const storages: string[] = []

  return modules.flatMap(({ path, syntax }) => [
    ...findMisplaced(path),
    ...findForbiddenImports(path, syntax),
    ...findBarrel(path, syntax),
    ...findAmbientState(path, syntax, storages)
  ])
}

function findMisplaced (path: string): readonly Violation[] {
  return findPlace(path) === undefined ? [{ rule: 'place', path, line: 1, message: `${path} has no place in the layers` }] : []
}

function findForbiddenImports (path: string, { references }: ModuleSyntax): readonly Violation[] {
  return references.flatMap((reference): readonly Violation[] => {
    const { line } = reference
    if (reference.specifier.startsWith('.')) {
      const message = refuseRelative(path, reference)
      return message === undefined ? [] : [{ rule: 'layer', path, line, message }]
    }
    if (isFastify(reference.specifier) && withoutFastify.some((folder) => path.startsWith(folder))) {
      return [{ rule: 'fastify', path, line, message: `${path} imports ${reference.specifier}` }]
    }
    return []
  })
}

function refuseRelative (path: string, { specifier, typeOnly }: ModuleReference): string | undefined {
  const target = posix.join(posix.dirname(path), specifier)
  if (target === 'package.json' || isFree(path)) return undefined
  return refuseImport(path, target, typeOnly)
}

function isFastify (specifier: string): boolean {
  return /^(fastify|fastify-[^/]+|@fastify\/[^/]+)(\/|$)/.test(specifier) && specifier !== '@fastify/error'
}

function findBarrel (path: string, { isBarrel }: ModuleSyntax): readonly Violation[] {
  if (isFree(path)) return []
  if (/(^|\/)index\.[cm]?[jt]s$/.test(path)) return [{ rule: 'barrel', path, line: 1, message: `${path} is named index` }]
  return isBarrel ? [{ rule: 'barrel', path, line: 1, message: `${path} only passes on what other files define` }] : []
}

/** `storages` collects, over all files, where ambient state is made. */
function findAmbientState (path: string, { mentions, constructions }: ModuleSyntax, storages: string[]): readonly Violation[] {
  const entered = namingEnterWith.some((folder) => path.startsWith(folder)) ? [] : mentions.filter(({ name }) => name === 'enterWith')
  const outside = path.startsWith(storageFolder) ? [] : mentions.filter(({ name }) => storageNames.includes(name))
  const further = constructions.filter(({ name }) => storageNames.includes(name)).filter(({ line }) => storages.push(`${path}:${line}`) > 1)

  return [
    ...entered.map(({ line }) => violation('enter-with', line, 'enterWith leaks the identity to whatever runs next')),
    ...outside.map(({ name, line }) => violation('async-local-storage', line, `${name} belongs to ${storageFolder}`)),
    ...further.map(({ name, line }) => violation('async-local-storage', line, `a second ${name}; the first is at ${storages[0]}`))
  ]

  function violation (rule: Rule, line: number, message: string): Violation {
    return { rule, path, line, message }
  }
}
