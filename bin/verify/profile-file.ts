import { readFile } from 'node:fs/promises'
import type { Profile } from '../../verify/profile.ts'
import { readProfile } from '../../verify/read-profile.ts'
import { reasonOf } from '../../verify/sources/notices.ts'

/** The profile that a JSON file describes. Rejects with a sentence that names the file and what is wrong. */
export async function readProfileFile (path: string): Promise<Profile> {
  try {
    return readProfile(JSON.parse(await readFile(path, 'utf8')))
  } catch (error) {
    throw new Error(`The profile could not be read from ${path}: ${reasonOf(error)}`, { cause: error })
  }
}
