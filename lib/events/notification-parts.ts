/** In bytes. Postgres takes fewer than 8,000; the rest is for what stands before a part. */
export const maxNotificationBytes = 7_500

const maxParts = 64
const maxOpen = 32
const maxAgeMs = 30_000

const expression = /^([^ ]{1,120}) (\d{1,3}) (\d{1,3}) /

/** A text as one notification, or in numbered parts. `id`: of this text, and of no other of any node. */
export function cutIntoNotifications (text: string, id: string): readonly string[] {
  const bytes = Buffer.from(text)
  if (bytes.length <= maxNotificationBytes) return [`= ${text}`]
  const parts: string[] = []
  for (let from = 0; from < bytes.length;) {
    let to = Math.min(from + maxNotificationBytes, bytes.length)
    while (isInCharacter(bytes[to])) to -= 1
    parts.push(bytes.toString('utf8', from, to))
    from = to
  }
  return parts.map((part, index) => `${id} ${index} ${parts.length} ${part}`)
}

const isInCharacter = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80

interface Open { readonly parts: (string | undefined)[], missing: number, readonly since: number }

/**
 * Puts parts together again, in whatever order they come. Bounded, since anybody who may notify can begin a text and not end it: of too many the
 * oldest are let go, and so is what has waited for half a minute.
 */
export class NotificationParts {
  readonly #open = new Map<string, Open>()

  /** The text, once it is whole. */
  take (notification: string): string | undefined {
    if (notification.startsWith('= ')) return notification.slice(2)
    const [head, id, indexText, countText] = expression.exec(notification) ?? []
    if (head === undefined || id === undefined) return undefined
    const [index, count] = [Number(indexText), Number(countText)]
    if (count > maxParts || index >= count) return undefined
    const open = this.#openOf(id, count)
    if (open.parts.length !== count || open.parts[index] !== undefined) return undefined
    open.parts[index] = notification.slice(head.length)
    open.missing -= 1
    if (open.missing > 0) return undefined
    this.#open.delete(id)
    return open.parts.join('')
  }

  #openOf (id: string, count: number): Open {
    const known = this.#open.get(id)
    if (known !== undefined) return known
    const now = Date.now()
    for (const [other, { since }] of this.#open) {
      if (this.#open.size < maxOpen && now - since < maxAgeMs) break
      this.#open.delete(other)
    }
    const open = { parts: Array.from<string | undefined>({ length: count }), missing: count, since: now }
    this.#open.set(id, open)
    return open
  }
}
