import type { Logger } from '../../lib/context/logger.ts'

const nothing = (): void => {}

/** What goes wrong in a bench shows in its figures, or ends it. */
export const silentLogger: Logger = { info: nothing, warn: nothing, error: nothing }
