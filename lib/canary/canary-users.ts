import { tryCurrentIdentity } from '../context/current-thread.ts'
import { isReservedUserId, reservedUserPrefix, toUserId, type UserId } from '../protocol/ids.ts'

/** The two users who chat to find out whether anything reaches the wrong one. No token can name them. */
export const canaryUsers = { a: toUserId(`${reservedUserPrefix}a`), b: toUserId(`${reservedUserPrefix}b`) } as const

export const isCanary = (userId: UserId | undefined): boolean => userId !== undefined && isReservedUserId(userId)

/** Whether a canary is served now. */
export const servesCanary = (): boolean => isCanary(tryCurrentIdentity()?.userId)
