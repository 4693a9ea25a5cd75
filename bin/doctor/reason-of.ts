import pg from 'pg'

/** Why something failed, in words that hold no address with a password: of several attempts the first reason. */
export function reasonOf (error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  if (error instanceof pg.DatabaseError) return `${error.message} (${error.code ?? 'no code'})`
  if (!(error instanceof Error)) return String(error)
  const { code } = error as NodeJS.ErrnoException // what an error of a socket has
  return error.message === '' ? code ?? error.name : withoutLogins(error.message)
}

/** `fetch` refuses an address with a password by telling it. */
function withoutLogins (text: string): string { return text.replaceAll(/\/\/[^\s/]*@/g, '//') }

/** Where an address leads, without what else is in it. */
export function placeOf (address: string): string {
  const url = URL.parse(address)
  return url === null ? 'an address that is none' : `${url.host}${url.pathname === '/' ? '' : url.pathname}`
}
