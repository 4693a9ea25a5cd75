import fc from 'fast-check'
import t from 'tap'
import { toJson } from '../../lib/emitter/to-json.ts'

class Money {
  readonly #cents = 250
  readonly currency = 'EUR'
  get cents (): number { return this.#cents }
}
const Level = Object.freeze({ LOW: 0, HIGH: 'high' })

t.test('F88 dates, enums, sets and odd objects become what JSON can say', async (t) => {
  const circular: Record<string, unknown> = { name: 'a' }
  circular['self'] = circular
  circular['list'] = [circular]
  const cases: readonly [unknown, unknown][] = [
    [new Date('2026-01-02T03:04:05.678Z'), '2026-01-02T03:04:05.678Z'],
    [new Date(NaN), null],
    [Level, { LOW: 0, HIGH: 'high' }],
    [new Set([1, new Set(['a'])]), [1, ['a']]],
    [new Map<unknown, unknown>([['a', new Date(0)], [7, undefined], [null, 1]]), { a: '1970-01-01T00:00:00.000Z', null: 1 }],
    [10n ** 30n, '1000000000000000000000000000000'],
    [[NaN, Infinity, -Infinity, -0], ['NaN', 'Infinity', '-Infinity', 0]],
    [undefined, null],
    [[undefined, null], [null, null]],
    [{ a: undefined, b: null }, { b: null }],
    [Symbol('x'), 'Symbol(x)'],
    [{ [Symbol('hidden')]: 1, shown: 2 }, { shown: 2 }],
    [() => 1, '[function]'],
    [class A {}, '[function]'],
    [new RangeError('too far'), { name: 'RangeError', message: 'too far' }],
    [Object.assign(new Error('x'), { name: 7n, message: new Date(0) }), { name: '7', message: '1970-01-01T00:00:00.000Z' }],
    [Buffer.from('abc'), '[3 bytes]'],
    [new Float64Array(2), '[16 bytes]'],
    [new Money(), { currency: 'EUR' }],
    [Object.create(null, { a: { value: 1, enumerable: true } }), { a: 1 }],
    [new URL('https://example.com/a'), 'https://example.com/a'],
    [{ toJSON: () => new Set([1n]) }, ['1']],
    [{ toJSON: () => undefined }, null],
    [circular, { name: 'a', self: '[circular]', list: ['[circular]'] }],
    [Promise.resolve(1), {}],
    [new WeakMap(), {}],
    [new Map([[Symbol('k'), 1]]), { 'Symbol(k)': 1 }],
    ['a\ud800b', 'a\ufffdb'],
    [{ 'a\ud800b': 1 }, { 'a\ufffdb': 1 }],
    [new Map([['\udc00', 1]]), { '\ufffd': 1 }],
    [Symbol('\ud800'), 'Symbol(\ufffd)'],
    ['a\u0000b', 'a\u0000b']
  ]

  for (const [index, [value, expected]] of cases.entries()) {
    t.strictSame(JSON.parse(JSON.stringify(toJson(value))), expected, `case ${index}`)
  }
})

t.test('F88 what throws when it is read is told as unreadable, and the rest is told', async (t) => {
  const fail = (): never => { throw new Error('no') }
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  const hostile: Record<string, unknown> = {
    getter: Object.defineProperty({ other: 1 }, 'secret', { enumerable: true, get: fail }),
    proxy: new Proxy({}, { ownKeys: fail }),
    prototype: new Proxy({}, { getPrototypeOf: fail }),
    revoked: proxy,
    toJSON: { toJSON: fail },
    getterOfToJSON: Object.defineProperty({}, 'toJSON', { get: fail }),
    date: Object.assign(new Date(0), { toISOString: fail }),
    dateOfNumbers: Object.assign(new Date(0), { toISOString: () => 7n }),
    noDate: Object.create(Date.prototype) as unknown,
    error: Object.defineProperty(new Error('x'), 'message', { get: fail }),
    iterator: Object.assign([1, 2], { [Symbol.iterator]: fail }),
    key: new Map([[{ toString: fail }, 1]]),
    nullKey: new Map([[Object.create(null), 1]])
  }

  for (const [name, value] of Object.entries(hostile)) {
    const told = toJson({ before: 1, value, after: 2 })
    t.match(JSON.parse(JSON.stringify(told)), { before: 1, after: 2 }, name)
  }
  t.strictSame(toJson(hostile['getter']), { other: 1, secret: '[unreadable]' })
})

t.test('F88 what is too deep is cut, and one object in two places is no circle', async (t) => {
  const shared = { n: 1 }
  let nested: unknown = 'the bottom'
  for (let level = 0; level < 100_000; level += 1) nested = [nested]
  let text = JSON.stringify(toJson(nested))

  t.strictSame(toJson([shared, { shared }]), [{ n: 1 }, { shared: { n: 1 } }])
  t.match(text, /^\[+"\[too deep\]"\]+$/)
  text = JSON.stringify(toJson({ toJSON () { return { ...this } } }))
  t.match(text, /too deep|\[function\]/)
})

t.test('F88 names of prototypes are names like any other', async (t) => {
  const told = toJson(JSON.parse('{"__proto__":{"polluted":true},"constructor":1}')) as object

  t.equal(JSON.stringify(told), '{"__proto__":{"polluted":true},"constructor":1}')
  t.equal(Object.getPrototypeOf(told), Object.prototype)
  t.notOk('polluted' in {})
})

t.test('F88 whatever the value, it becomes plain JSON of well-formed text, and JSON stays as it is', async (t) => {
  const anything = fc.anything({
    key: fc.string({ unit: fc.constantFrom('a', '\ud800', '\udc00', '\u0000', '__proto__', 'toJSON') }),
    withBigInt: true, withBoxedValues: true, withDate: true, withMap: true, withSet: true, withNullPrototype: true, withObjectString: true,
    withTypedArray: true, withSparseArray: true, maxDepth: 6
  })

  fc.assert(fc.property(anything, (value) => {
    const told = toJson(value)
    const text = JSON.stringify(told)
    return isPlain(told) && JSON.stringify(JSON.parse(text)) === text && JSON.stringify(toJson(told)) === text
  }), { numRuns: 1_000 })
  fc.assert(fc.property(fc.jsonValue(), (value) => JSON.stringify(toJson(value)) === JSON.stringify(value)))
  t.pass()
})

/** Nothing in it but what JSON knows, and no half of a surrogate pair. */
function isPlain (value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value === 'number') return Number.isFinite(value)
  if (Array.isArray(value)) return value.every(isPlain)
  if (typeof value !== 'object' || value === null) return value === null || typeof value === 'boolean'
  return Object.getPrototypeOf(value) === Object.prototype && Object.entries(value).flat().every(isPlain)
}
