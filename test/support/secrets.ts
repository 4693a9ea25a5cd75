export interface Secrets {
  /** Parameters of a tool with a secret under each name that tells one, at several depths. */
  readonly parameters: Readonly<Record<string, unknown>>
  /** One more secret. */
  one (): string
  /** Every secret so far. */
  readonly all: readonly string[]
}

const names = [
  'password', 'Password', 'userPassword', 'new_password', 'passwd', 'passphrase', 'token', 'accessToken', 'access_token', 'refresh-token',
  'secret', 'clientSecret', 'client_secret', 'api_key', 'apiKey', 'API-KEY', 'x-api-key', 'OPENAI_API_KEY', 'privateKey',
  'Authorization', 'authorization', 'credentials', 'cookie', 'Set-Cookie'
]

/** Secrets that can be searched for: none of them occurs anywhere by chance. */
export function createSecrets (): Secrets {
  const all: string[] = []
  const one = (): string => {
    const secret = `s3cr3t-${crypto.randomUUID()}`
    all.push(secret)
    return secret
  }
  return {
    one,
    all,
    parameters: {
      user: 'anna',
      max_tokens: 100,
      note: 'n'.repeat(5_000),
      ...Object.fromEntries(names.map((name) => [name, one()])),
      inside: { request: { headers: { Authorization: `Bearer ${one()}`, accept: 'text/plain' } } },
      list: [{ password: one() }, { token: { value: one(), list: [one()] } }]
    }
  }
}
