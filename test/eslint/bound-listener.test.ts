import t from 'tap'
import { boundListener } from '../../eslint/bound-listener.ts'
import { testRule } from '../support/rule-testers.ts'

const strict = [{ strict: true }]

testRule(t, 'bound-listener', boundListener, {
  messageId: 'unbound',
  good: [
    { name: 'a bound listener', code: "emitter.on('news', bindThread(() => tell(currentThread())))" },
    { name: 'one bound by Node', code: "emitter.on('news', AsyncResource.bind(() => tell(currentThread())))" },
    { name: 'one bound by OpenTelemetry', code: "emitter.on('news', context.bind(context.active(), () => tell(currentThread())))" },
    { name: 'one bound before', code: "const listener = bindThread(() => tell(currentThread())); emitter.on('news', listener)" },
    { name: 'what was read before', code: "const { userId } = currentThread(); emitter.on('news', () => tell(userId))" },
    { name: 'a listener that reads nothing', code: "function body () { currentThread(); emitter.on('data', (chunk) => { chunks.push(chunk) }) }" },
    { name: 'a reader that is called elsewhere', code: "emitter.emit('news', () => currentThread())" },
    { name: 'a name of another function', code: "on('news', () => currentThread()); once(() => currentThread())" },
    { name: 'a listener that enters an identity itself', code: "emitter.on('news', () => enterThread(identity, () => currentThread()))" },
    { name: 'one that a configured function binds', code: "emitter.on('news', tied(() => currentThread()))", options: [{ binders: ['tied'] }] },
    { name: 'one that a configured function enters', code: "emitter.on('news', () => enterRun(run, () => currentThread()))", options: [{ enterers: ['enterRun'] }] },
    { name: 'functions that call each other', code: "function a () { b() } function b () { a() } emitter.on('news', a)" },
    { name: 'a variable that may change', code: "let listener = () => currentThread(); listener = other; emitter.on('news', listener)" },
    { name: 'a function of another file, as long as it is not strict', code: "import { tell } from './tell.js'; function body () { currentThread(); emitter.on('news', () => tell()) }" },
    { name: 'a package in scoped code', code: "import { tell } from 'tell'; defineTool({ execute () { emitter.on('news', () => tell()) } })", options: strict },
    { name: 'a function of another file outside of scoped code', code: "import { tell } from './tell.js'; emitter.on('news', () => tell())", options: strict },
    { name: 'a property that is no listener', code: 'options.once = () => currentThread; options.only = readers' },
    { name: 'a recursive method', code: "class A { listen () { this.emitter.on('news', this.again) } again () { this.again() } }" }
  ],
  bad: [
    { name: 'an arrow function', code: "emitter.on('news', () => tell(currentThread()))" },
    { name: 'a function', code: "emitter.once('news', function () { tell(currentThread()) })" },
    { name: 'an async one, after a wait', code: "emitter.on('news', async () => { await ready; tell(currentRun()) })" },
    { name: 'a function inside of it', code: "emitter.on('news', () => items.map(() => currentThread()))" },
    { name: 'by its name', code: "function listener () { return currentThread() } emitter.addListener('news', listener)" },
    { name: 'by the name of a constant', code: "const listener = () => currentThread(); emitter.on('news', listener)" },
    { name: 'through another function of the file', code: "const who = () => currentThread(); function tell () { who() } emitter.on('news', () => tell())" },
    { name: 'a method', code: "class A { listen () { this.emitter.on('news', this.#hear) } #hear () { currentThread() } }" },
    { name: 'through a method', code: "class A { listen () { this.emitter.on('news', () => this.hear()) } hear () { currentThread() } }" },
    { name: 'the reader itself', code: "emitter.on('news', currentThread)" },
    { name: 'a reader under another name', code: "import { currentThread as who } from 'threadline/context'; emitter.on('news', () => who())" },
    { name: 'a reader of a namespace', code: "import * as threadline from 'threadline/context'; emitter.on('news', () => threadline.currentThread())" },
    { name: 'a listener of an event target', code: "signal.addEventListener('abort', () => { stop(currentThread()) }, { once: true })" },
    { name: 'an object that listens', code: "signal.addEventListener('abort', { handleEvent () { stop(currentThread()) } })" },
    { name: 'a subscriber of a channel', code: "import { subscribe } from 'node:diagnostics_channel'; subscribe('news', () => currentThread())" },
    { name: 'a property that listens', code: 'socket.onmessage = () => tell(currentThread())' },
    { name: 'a configured method', code: 'pool.acquire(() => currentThread())', options: [{ methods: ['acquire'] }] },
    { name: 'a configured reader', code: "emitter.on('news', () => whoAmI())", options: [{ readers: ['whoAmI'] }] },
    { name: 'a child request', code: "emitter.on('news', () => childRequest('late', work))" },
    { name: 'a function of another file in a tool, strictly', code: "import { tell } from './tell.js'; defineTool({ execute () { emitter.on('news', () => tell()) } })", options: strict },
    { name: 'a function of another file by its name, strictly', code: "import { tell } from './tell.js'; defineAgent({ run: async function * () { emitter.on('news', tell) } })", options: strict },
    { name: 'a function of another file in a function that reads, strictly', code: "import { tell } from './tell.js'; function body () { currentThread(); emitter.on('news', () => tell()) }", options: strict },
    { name: 'a function of another file in a scoped file', code: "import { tell } from './tell.js'; emitter.on('news', () => tell())", options: [{ strict: true, scoped: true }] },
    { name: 'two listeners', code: "emitter.on('a', () => currentThread()).on('b', () => currentThread())", reports: 2 }
  ]
}, {
  good: [
    { name: 'a bound listener with types', code: "emitter.on('news', bindThread((news: News): void => { tell(currentThread() as ThreadIdentity, news) }))" }
  ],
  bad: [
    { name: 'behind an assertion', code: "emitter.on('news', (() => currentThread()) as Listener)" },
    { name: 'of an asserted emitter', code: "(emitter as Emitter<News>).on('news', (news: News) => { tell(currentThread()!, news) })" },
    { name: 'a private method with types', code: "class A { listen (): void { this.emitter!.on('news', this.#hear) } #hear (): void { currentThread() } }" }
  ]
})
