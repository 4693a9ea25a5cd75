import { PassThrough, Writable } from 'node:stream'
import { createInterface } from 'node:readline/promises'
import t from 'tap'
import { createPromptScreen } from '../../../bin/chat/prompt-screen.ts'
import type { Printed } from '../../../bin/chat/render-event.ts'
import { createPlainScreen, type Screen } from '../../../bin/chat/screen.ts'
import { pictureOf, type TerminalPicture } from '../../support/terminal-picture.ts'

const line = (text: string): Printed => ({ kind: 'line', text })
const piece = (text: string, of = 'run'): Printed => ({ kind: 'text', of, lead: `${of}│ `, text })

t.test('in a pipe', async (t) => {
  const print = (...all: readonly Printed[]): string => {
    let written = ''
    const screen = createPlainScreen((text) => { written += text })
    for (const each of all) screen.print(each)
    screen.close()
    return written
  }

  t.test('the pieces of a text follow each other in one line', async (t) => {
    t.equal(print(line('one'), piece('Hel'), piece('lo'), line('two')), 'one\nrun│ Hello\ntwo\n')
  })

  t.test('texts of two runs do not run into each other', async (t) => {
    t.equal(print(piece('a1', 'a'), piece('b1', 'b'), piece('a2', 'a')), 'a│ a1\nb│ b1\na│ a2\n')
  })

  t.test('further lines of a text are indented, so that none looks like an event', async (t) => {
    t.equal(print(piece('one\nalice 1 ▶')), 'run│ one\n  alice 1 ▶\n')
  })
})

t.test('in a terminal', async (t) => {
  const columns = 20

  interface Terminal {
    readonly screen: Screen
    readonly type: (keys: string) => void
    readonly press: (key: string) => void
    readonly picture: () => TerminalPicture
  }

  const open = (t: { teardown: (fn: () => void) => void }): Terminal => {
    let written = ''
    const output = Object.assign(new Writable({
      write (chunk: Buffer, _encoding, done) {
        written += chunk.toString()
        done()
      }
    }), { columns, isTTY: true })
    const input = new PassThrough()
    const readline = createInterface({ input, output, terminal: true, prompt: '' })
    const screen = createPromptScreen(readline, output)
    t.teardown(() => { screen.close() })
    screen.setPrompt('> ')
    return {
      screen,
      type: (keys) => { readline.write(keys) },
      press: (name) => { readline.write('', { name }) },
      picture: () => pictureOf(written, columns)
    }
  }

  t.test('events are printed above what is being typed', async (t) => {
    const { screen, type, picture } = open(t)

    type('hel')
    screen.print(line('one'))
    type('lo')
    screen.print(line('two'))

    t.same(picture(), { rows: ['one', 'two', '> hello'], cursor: [2, 7] })
  })

  t.test('the cursor stays where it was in what is being typed', async (t) => {
    const { screen, type, press, picture } = open(t)
    type('held')
    press('left')

    screen.print(line('one'))
    type('l')

    t.same(picture(), { rows: ['one', '> helld'], cursor: [1, 6] })
  })

  t.test('the next line can be typed while the last one is carried out', async (t) => {
    const { screen, type, picture } = open(t)

    type('first\r')
    type('ne')
    screen.print(line('answer'))
    type('xt')

    t.same(picture(), { rows: ['> first', 'answer', '> next'], cursor: [2, 6] })
  })

  t.test('nothing is lost of a line that is typed over several rows', async (t) => {
    const { screen, type, picture } = open(t)
    type('abcdefghijklmnopqrstuvwxyz')

    screen.print(line('one'))
    screen.print(piece('text'))
    screen.print(piece(' goes on'))

    t.same(picture().rows, ['one', 'run│ text goes on', '> abcdefghijklmnopqr', 'stuvwxyz'])
  })

  t.test('a text grows in place, and goes on in the next row when one is full', async (t) => {
    const { screen, type, picture } = open(t)
    type('typed')

    for (const word of ['The quick ', 'brown ', 'fox\n', 'jumps']) screen.print(piece(word))

    t.same(picture(), { rows: ['run│ The quick brow', '  n fox', '  jumps', '> typed'], cursor: [3, 7] })
  })

  t.test('wide characters are counted as wide', async (t) => {
    const { screen, picture } = open(t)

    screen.print(piece('日本語日本語日本語'))

    t.same(picture().rows, ['run│ 日本語日本語日', '  本語', '>'])
  })

  t.test('a line between the pieces of a text ends its row', async (t) => {
    const { screen, picture } = open(t)

    screen.print(piece('one'))
    screen.print(line('between'))
    screen.print(piece('two'))
    screen.print(piece('other', 'b'))

    t.same(picture().rows, ['run│ one', 'between', 'run│ two', 'b│ other', '>'])
  })

  t.test('a text goes on below the line that was entered meanwhile', async (t) => {
    const { screen, type, picture } = open(t)

    screen.print(piece('one'))
    type('hello\r')
    screen.print(piece(' two'))
    screen.print(line('end'))

    t.same(picture().rows, ['run│ one', '> hello', '   two', 'end', '>'])
  })

  t.test('after it is closed nothing is printed', async (t) => {
    const { screen, type, picture } = open(t)
    type('hello\r')
    screen.close()
    const { rows } = picture()

    screen.print(line('late'))
    screen.setPrompt('late> ')

    t.same(rows, ['> hello', ''])
    t.same(picture().rows, rows)
  })
})
