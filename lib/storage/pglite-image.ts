import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PGlite } from '@electric-sql/pglite'

// Beside the installed packages, where only those may write who may change the program as well.
const packageFolder = join(dirname(fileURLToPath(import.meta.resolve('@electric-sql/pglite'))), '..')
const cacheFolder = join(packageFolder, '..', '..', '.cache', 'threadline')

/**
 * A new, empty database, in a folder or in memory. The first one on a machine is made by Postgres' own `initdb`, which takes
 * seconds; its files are kept as an image that the next ones start from. Where nothing can be kept, each is made anew.
 */
export async function createDatabase (folder?: string): Promise<PGlite> {
  const target = folder === undefined ? {} : { dataDir: folder }
  const imageFile = join(cacheFolder, `database-${await installedVersion()}.tar`)
  const image = await readImage(imageFile)
  if (image !== undefined) return await PGlite.create({ ...target, loadDataDir: image })
  const database = await PGlite.create(target)
  await keepImage(imageFile, database)
  return database
}

async function installedVersion (): Promise<string> {
  const { version } = JSON.parse(await readFile(join(packageFolder, 'package.json'), 'utf8')) as { version: string }
  return version
}

async function readImage (file: string): Promise<Blob | undefined> {
  try {
    return new Blob([await readFile(file)])
  } catch {
    return undefined // not made yet
  }
}

// Under another name first, so that nobody reads half an image.
async function keepImage (file: string, database: PGlite): Promise<void> {
  const image = Buffer.from(await (await database.dumpDataDir('none')).arrayBuffer())
  const unfinished = `${file}.${process.pid}`
  try {
    await mkdir(cacheFolder, { recursive: true })
    await writeFile(unfinished, image)
    await rename(unfinished, file)
  } catch {
    // The packages are read-only here: it is made anew each time.
  }
}
