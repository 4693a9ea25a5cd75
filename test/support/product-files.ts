import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import type { SourceFile } from './architecture.ts'

/** Not code of the server: made, installed, written for people, or served to the browser as it is. */
const skipped = ['node_modules', 'dist', 'coverage', 'data', 'docs', 'deploy', 'web']

/** Every TypeScript and JavaScript file under `root`, whichever folder somebody put it in. */
export function readProductFiles (root: string): readonly SourceFile[] {
  return readdirSync(root, { withFileTypes: true })
    .filter(({ name }) => !name.startsWith('.') && !skipped.includes(name))
    .flatMap((entry) => entry.isDirectory()
      ? readdirSync(join(root, entry.name), { withFileTypes: true, recursive: true })
      : [entry])
    .filter((entry) => entry.isFile() && /\.[cm]?[jt]s$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => ({ path: relative(root, file).split(sep).join('/'), source: readFileSync(file, 'utf8') }))
    .toSorted((a, b) => a.path < b.path ? -1 : 1)
}
