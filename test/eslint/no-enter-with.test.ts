import t from 'tap'
import { noEnterWith } from '../../eslint/no-enter-with.ts'
import { testRule } from '../support/rule-testers.ts'

testRule(t, 'no-enter-with', noEnterWith, {
  messageId: 'leaks',
  good: [
    { name: 'a store for a function', code: 'storage.run(store, () => serve())' },
    { name: 'a text and a comment', code: "console.log('enterWith') // enterWith" },
    { name: 'a function of that name', code: 'class Door { enterWith (key) {} }' },
    { name: 'a name that only begins alike', code: 'storage.enterWithin(store)' },
    { name: 'a name that is not known', code: 'storage[name](store)' },
    { name: 'a name that may change', code: "let name = 'enterWith'; name = read(); storage[name](store)" },
    { name: 'another member by reflection', code: "Reflect.get(storage, 'run')" }
  ],
  bad: [
    { name: 'a call', code: 'storage.enterWith(store)' },
    { name: 'an optional call', code: 'storage?.enterWith?.(store)' },
    { name: 'by a string', code: "storage['enterWith'](store)" },
    { name: 'by a template', code: 'storage[`enterWith`](store)' },
    { name: 'by a string in parts', code: "storage['enter' + 'With'](store)" },
    { name: 'by a constant', code: "const name = 'enterWith'; storage[name](store)" },
    { name: 'by another name', code: 'const enter = storage.enterWith; enter.call(storage, store)' },
    { name: 'bound', code: 'const enter = storage.enterWith.bind(storage)' },
    { name: 'taken apart', code: 'const { enterWith } = storage' },
    { name: 'taken apart under another name', code: 'const { enterWith: enter } = storage' },
    { name: 'taken apart by a string', code: "const { ['enterWith']: enter } = storage" },
    { name: 'taken apart in a parameter', code: 'function use ({ enterWith }) { enterWith(1) }' },
    { name: 'taken apart in an assignment', code: 'let enter; ({ enterWith: enter } = storage)' },
    { name: 'from the prototype', code: 'AsyncLocalStorage.prototype.enterWith.call(storage, store)' },
    { name: 'by reflection', code: "Reflect.get(storage, 'enterWith').call(storage, store)" },
    { name: 'twice', code: 'a.enterWith(1); b.enterWith(2)', reports: 2 }
  ]
}, {
  good: [{ name: 'a type of that name', code: 'interface Storage { enterWith (store: string): void }' }],
  bad: [
    { name: 'behind an assertion', code: '(storage as AsyncLocalStorage<string>).enterWith(store)' },
    { name: 'behind a non-null assertion', code: 'storage!.enterWith!(store)' },
    { name: 'by an asserted string', code: "storage['enterWith' as 'run'](store)" }
  ]
})
