/** What an event can say of each odd value: undefined where it is enough that it says something. */
export interface OddValue { readonly value: unknown, readonly said?: unknown }

const Color = Object.freeze({ Red: 'RED', Green: 'GREEN', 0: 'Red' })

/** Values that agents and tools hand over, and that JSON cannot say, or only says by throwing. */
export function createOddValues (): ReadonlyMap<string, OddValue> {
  const cyclic: Record<string, unknown> = { name: 'a cycle' }
  cyclic['itself'] = cyclic
  const { proxy: revoked, revoke } = Proxy.revocable({}, {})
  revoke()
  let deep: unknown = 'the bottom'
  for (let depth = 0; depth < 5_000; depth += 1) deep = [deep]
  const when = new Date('2026-01-02T03:04:05.678Z')

  return new Map<string, OddValue>(Object.entries({
    'a date': { value: when, said: '2026-01-02T03:04:05.678Z' },
    'no date': { value: new Date(Number.NaN), said: null },
    'a set': { value: new Set([when, 'two']), said: ['2026-01-02T03:04:05.678Z', 'two'] },
    'a map': { value: new Map<unknown, unknown>([['one', new Set([1])], [2, 'two']]), said: { one: [1], 2: 'two' } },
    'an enum': { value: Color, said: { Red: 'RED', Green: 'GREEN', 0: 'Red' } },
    'one of an enum': { value: Color.Green, said: 'GREEN' },
    'a big integer': { value: 12_345_678_901_234_567_890n, said: '12345678901234567890' },
    'no number': { value: [Number.NaN, Infinity, -Infinity], said: ['NaN', 'Infinity', '-Infinity'] },
    'a symbol': { value: Symbol('sign'), said: 'Symbol(sign)' },
    'a function': { value: () => 'never called', said: '[function]' },
    nothing: { value: undefined, said: null },
    'nothing inside': { value: { kept: 1, gone: undefined, list: [undefined] }, said: { kept: 1, list: [null] } },
    'a cycle': { value: cyclic, said: { name: 'a cycle', itself: '[circular]' } },
    'an error': { value: new Error('what happened', { cause: 'why' }), said: { name: 'Error', message: 'what happened' } },
    'an odd error': { value: Object.assign(new Error('?'), { message: 10n, name: Symbol('n') }) },
    bytes: { value: Buffer.from('bytes'), said: '[5 bytes]' },
    'an address': { value: new URL('https://example.com/path'), said: 'https://example.com/path' },
    'its own words': { value: { toJSON: () => ({ at: when }) }, said: { at: '2026-01-02T03:04:05.678Z' } },
    'failing words': { value: { toJSON: () => { throw new Error('no words') } } },
    'endless words': { value: { toJSON () { return this } } },
    'a failing getter': { value: { fine: true, get bad () { throw new Error('not this') } } },
    'a revoked proxy inside': { value: { revoked } },
    'a failing proxy': { value: new Proxy({}, { ownKeys: () => { throw new Error('no keys') } }) },
    'without a prototype': { value: Object.assign(Object.create(null), { plain: true }), said: { plain: true } },
    'a dangerous name': { value: JSON.parse('{"__proto__":{"admin":true}}') as unknown },
    'half an emoji': { value: '\ud83d', said: '\ufffd' },
    'a zero character': { value: 'zero\u0000in', said: 'zero\u0000in' },
    'separators of lines': { value: '\u2028\u2029', said: '\u2028\u2029' },
    deep: { value: deep },
    sparse: { value: Object.assign([], { 2: 'third' }), said: [null, null, 'third'] },
    'an expression': { value: /x/ },
    'a weak map': { value: new WeakMap() },
    'a promise inside': { value: { promise: Promise.resolve(1) } },
    'boxed text': { value: Object('boxed') as unknown }
  }))
}
