import t from 'tap'
import { boundIterable } from '../../eslint/bound-iterable.ts'
import { testRule } from '../support/rule-testers.ts'

/** Code with a generator that reads the identity in front of it. */
const reading = (code: string): string => `async function * lines () { yield currentThread().userId }\n${code}`

testRule(t, 'bound-iterable', boundIterable, {
  messageId: 'unbound',
  good: [
    { name: 'a bound one', code: reading('function read () { return bindIterable(lines()) }') },
    { name: 'one bound later', code: reading('function read () { const all = lines(); return bindIterable(all) }') },
    { name: 'one that is consumed here', code: reading('async function read () { for await (const line of lines()) use(line) }') },
    { name: 'one that is consumed here by its name', code: reading('async function read () { const all = lines(); for await (const line of all) use(line) }') },
    { name: 'one that is gathered here', code: reading('async function read () { return await Array.fromAsync(lines()) }') },
    { name: 'one that is asked here', code: reading('async function read () { return await lines().next() }') },
    { name: 'one that is passed on in another generator', code: reading('async function * more () { yield * lines() }') },
    { name: 'one that another generator consumes, which is bound', code: reading('async function * upper (all) { for await (const line of all) yield line.toUpperCase() }\nfunction read () { return bindIterable(upper(lines())) }') },
    { name: 'one that is chosen and bound', code: reading('function read () { return bindIterable(some ? lines() : others()) }') },
    { name: 'one that a function of the file consumes', code: reading('async function gather (all) { for await (const line of all) use(line) }\nfunction read () { return gather(lines()) }') },
    { name: 'a generator that is given what was read', code: 'async function * lines (userId) { yield userId }\nfunction read () { return lines(currentThread().userId) }' },
    { name: 'a generator as a function', code: 'defineAgent({ run: async function * () { yield currentThread().userId } })' },
    { name: 'a generator that is not async', code: 'function * lines () { yield currentThread().userId }\nfunction read () { return lines() }' },
    { name: 'a bound object', code: 'const read = () => bindIterable({ async * [Symbol.asyncIterator] () { yield currentThread() } })' },
    { name: 'a generator that enters an identity itself', code: 'async function * lines () { yield enterThread(identity, () => currentThread()) }\nfunction read () { return lines() }' },
    { name: 'a function that hands its parameter to itself', code: reading('async function gather (all) { await gather(all) }\nfunction read () { return gather(lines()) }') },
    { name: 'one that nobody uses', code: reading('lines()') }
  ],
  bad: [
    { name: 'returned', code: reading('function read () { return lines() }') },
    { name: 'returned by an arrow', code: reading('const read = () => lines()') },
    { name: 'returned by its name', code: reading('function read () { const all = lines(); return all }') },
    { name: 'kept', code: reading('class A { start () { this.all = lines() } }') },
    { name: 'kept in an object', code: reading('const source = { all: lines() }') },
    { name: 'kept in a list', code: reading('sources = [lines()]') },
    { name: 'put into a queue', code: reading('queue.push(lines())') },
    { name: 'given to a stream', code: reading('reply.send(Readable.from(lines()))') },
    { name: 'given to a function of another file', code: reading("import { gather } from './gather.js'; gather(lines())") },
    { name: 'given to a function of the file that keeps it', code: reading('function keep (all) { kept.push(all) }\nkeep(lines())') },
    { name: 'its iterator', code: reading('function read () { return lines()[Symbol.asyncIterator]() }') },
    { name: 'yielded as a whole', code: reading('async function * all () { yield lines() }') },
    { name: 'one of two', code: reading('function read () { return some ? lines() : others() }') },
    { name: 'one that another generator consumes', code: reading('async function * upper (all) { for await (const line of all) yield line }\nfunction read () { return upper(lines()) }') },
    { name: 'one that passes another on', code: reading('async function * more () { yield * lines() }\nfunction read () { return more() }') },
    { name: 'a method', code: 'class A { async * #lines () { yield currentThread() } read () { return this.#lines() } }' },
    { name: 'a constant', code: 'const lines = async function * () { yield currentThread() }; const read = () => lines()' },
    { name: 'an object that iterates', code: 'const read = () => ({ async * [Symbol.asyncIterator] () { yield currentThread() } })' },
    { name: 'a generator of another file in a tool, strictly', code: "import { parse } from './parse.js'; defineTool({ execute () { async function * lines () { yield parse() } return lines() } })", options: [{ strict: true }] }
  ]
}, {
  good: [
    { name: 'a bound one with types', code: reading('function read (): AsyncIterable<string> { return bindIterable(lines() as AsyncIterable<string>) }') },
    { name: 'one that is consumed here behind an assertion', code: reading('async function read (): Promise<void> { for await (const line of lines() as AsyncIterable<string>) use(line) }') }
  ],
  bad: [
    { name: 'returned behind an assertion', code: reading('function read (): AsyncIterable<string> { return lines() satisfies AsyncIterable<string> }') },
    { name: 'kept in a typed field', code: 'class A { readonly #all: AsyncIterable<Line> = this.#lines()\n async * #lines (): AsyncGenerator<Line> { yield currentThread() as Line } }' }
  ]
})
