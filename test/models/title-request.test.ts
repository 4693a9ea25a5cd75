import fc from 'fast-check'
import t from 'tap'
import { readTitle, titleInstructions, titleRequest } from '../../lib/models/title-request.ts'

t.test('a model is asked with the exchange, cut to two thousand characters, and no emoji is cut in half', async (t) => {
  const message = `The weather in Vienna ${'🌦'.repeat(2_000)}`
  const answer = `It rains ${'🌧'.repeat(2_000)}`

  const { instructions, messages } = titleRequest({ message, answer })

  const [asked, answered] = messages.map(({ content }) => typeof content === 'string' ? content : '')
  t.equal(instructions, titleInstructions)
  t.same(messages.map(({ role }) => role), ['user', 'assistant', 'user'])
  t.ok(asked?.startsWith('The weather in Vienna 🌦') && answered?.startsWith('It rains 🌧'))
  t.ok((asked + (answered ?? '')).length <= 2_000)
  t.ok([asked, answered].every((text) => text?.isWellFormed()))
})

t.test('a title is what the model answered, without what models add to it', async (t) => {
  const titles = {
    'Weather in Vienna': 'Weather in Vienna',
    '"Weather in Vienna."\n': 'Weather in Vienna',
    '**Title: Weather in Vienna**': 'Weather in Vienna',
    '# Weather\n\n in   Vienna': 'Weather in Vienna',
    '„Alice’s Wetter“': 'Alice’s Wetter',
    '«Météo à Vienne»': 'Météo à Vienne',
    "'Node 24.1 vs. 22'": 'Node 24.1 vs. 22',
    '\u202EWeather': 'Weather',
    '👩‍👩‍👧 at home': '👩‍👩‍👧 at home',
    '  \n"" ': '',
    '': ''
  }

  for (const [text, title] of Object.entries(titles)) t.equal(readTitle(text), title)
})

t.test('a long title is cut between words, and one without blanks where it has to be', async (t) => {
  t.equal(readTitle('word '.repeat(40)), `${'word '.repeat(14)}word…`)
  t.equal(readTitle('x'.repeat(200)), `${'x'.repeat(79)}…`)
  t.equal(readTitle('🐝'.repeat(200)), `${'🐝'.repeat(39)}…`)
})

t.test('whatever a model answers, a title is one line of well-formed text without quotes, and of at most eighty characters', async (t) => {
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom('"', '\n', ' ', '\ud83d', '\udc1d', 'a', "'", '*', '🐝'), maxLength: 300 }))

  fc.assert(fc.property(text, (answer) => {
    const title = readTitle(answer)
    return title.length <= 80 && title.isWellFormed() && title.trim() === title && !/["“”„«»`\p{Cc}\u2028\u2029]/u.test(title)
  }), { numRuns: 500 })
  t.pass()
})
