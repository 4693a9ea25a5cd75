import t from 'tap'
import { isAllowedOrigin, type OriginRules } from '../../lib/auth/origin.ts'

const rules: OriginRules = { host: 'chat.example', allowedOrigins: ['https://app.example', 'http://intranet:8080'], development: false }

t.test('a client that is no browser sends no origin and is allowed', async (t) => {
  t.ok(isAllowedOrigin(undefined, rules))
})

t.test('listed origins and the own host are allowed', async (t) => {
  for (const origin of ['https://app.example', 'http://intranet:8080', 'https://chat.example', 'http://chat.example']) {
    t.ok(isAllowedOrigin(origin, rules), origin)
  }
  t.ok(isAllowedOrigin('https://chat.example', { ...rules, host: 'chat.example:443' }), 'the default port may be told')
  t.ok(isAllowedOrigin('http://chat.example:3000', { ...rules, host: 'chat.example:3000' }))
})

t.test('every other origin is refused', async (t) => {
  for (const origin of [
    'null', '', 'https://evil.example', 'http://app.example', 'https://app.example:444', 'https://app.example.evil.example',
    'https://evil.example/https://app.example', 'https://app.example@evil.example', 'https://app.example/', 'file://', 'app.example',
    'https://chat.example:3000', 'chrome-extension://abc', 'http://localhost:5173', 'http://127.0.0.1'
  ]) {
    t.notOk(isAllowedOrigin(origin, rules), origin)
  }
  t.notOk(isAllowedOrigin('https://chat.example', { ...rules, host: undefined }))
})

t.test('in development mode pages of this machine are allowed, and the own host is not enough', async (t) => {
  const development = { ...rules, development: true }
  for (const origin of ['http://localhost:5173', 'http://127.0.0.1:3000', 'http://[::1]:3000', 'https://app.example']) {
    t.ok(isAllowedOrigin(origin, development), origin)
  }
  for (const origin of ['http://chat.example', 'http://localhost.evil.example', 'null']) t.notOk(isAllowedOrigin(origin, development), origin)
})
