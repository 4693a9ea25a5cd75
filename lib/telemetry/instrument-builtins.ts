import { createRequire, syncBuiltinESMExports } from 'node:module'

/**
 * Lets created instrumentations take hold of Node's own HTTP modules: they wrap a module when it is next required, and ES modules
 * that import a builtin by name would keep the functions of before.
 */
export function instrumentBuiltins (): void {
  const require = createRequire(import.meta.url)
  require('node:http')
  require('node:https')
  syncBuiltinESMExports()
}
