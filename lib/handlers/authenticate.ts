import type { Handler } from './handler.ts'

/** Renews the connection's token, so that it is not closed when the old one expires. */
export const authenticate: Handler<'authenticate'> = async ({ payload }, connection) => {
  const expiresAt = await connection.renew(payload.token)

  connection.reply('token_renewed', { expires_at: expiresAt.toISOString() })
}
