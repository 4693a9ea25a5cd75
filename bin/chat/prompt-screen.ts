import type { Interface } from 'node:readline/promises'
import { stripVTControlCharacters } from 'node:util'
import { characterWidth, textWidth } from './printable.ts'
import type { Screen } from './screen.ts'

interface Output {
  readonly columns?: number
  write (text: string): unknown
}

/** The last row of a text that still grows. It stands above the prompt and is drawn anew with each piece. */
interface Growing {
  readonly of: string
  lead: string
  text: string
}

const continued = '  '

/**
 * For a terminal: prints above the prompt and leaves what is being typed, and the cursor in it, as they are. A growing text has one
 * row of its own above the prompt; a row that is full is printed for good and the text goes on in the next.
 */
export function createPromptScreen (readline: Interface, output: Output): Screen {
  let growing: Growing | undefined
  /** Whether the row above the prompt is that of `growing`. */
  let shown = false
  let closed = false

  // After Enter the typed line is part of what stands above; a text that grows goes on below it.
  readline.on('close', () => {
    closed = true
    output.write(readline.line === '' ? '\r\u001b[J' : '\r\n')
  })
  readline.on('line', () => {
    if (growing !== undefined && shown) growing = { of: growing.of, lead: continued, text: '' }
    shown = false
    readline.prompt(true) // at once, and never again from the start: the next line may already be being typed
  })

  const draw = (finished: readonly string[]): void => {
    if (closed) return
    const typedRows = readline.getCursorPos().rows
    const up = typedRows + (shown ? 1 : 0)
    const rows = growing === undefined ? finished : [...finished, growing.lead + growing.text]
    shown = growing !== undefined
    output.write(`${up === 0 ? '' : `\u001b[${up}A`}\r\u001b[J${rows.map((row) => `${row}\r\n`).join('')}`)
    output.write('\r\n'.repeat(typedRows)) // `prompt` goes up again by as many rows as the cursor was below the first
    readline.prompt(true)
  }

  return {
    print (printed) {
      const goesOn = printed.kind === 'text' && growing?.of === printed.of
      const before = goesOn || growing === undefined || growing.text === '' ? [] : [growing.lead + growing.text]
      if (printed.kind === 'line') {
        growing = undefined
        return draw([...before, printed.text])
      }
      if (growing?.of !== printed.of) growing = { of: printed.of, lead: printed.lead, text: '' }
      draw([...before, ...grow(growing, printed.text, (output.columns ?? 80) - 1)])
    },
    setPrompt (prompt) {
      readline.setPrompt(prompt)
      draw([])
    },
    close () {
      readline.close()
    }
  }
}

/** Appends to the growing row; returns the rows that became full. */
function grow (row: Growing, text: string, columns: number): readonly string[] {
  const finished: string[] = []
  for (const character of text) {
    const full = textWidth(stripVTControlCharacters(row.lead) + row.text) + characterWidth(character) > columns
    if (character === '\n' || full) {
      finished.push(row.lead + row.text)
      row.lead = continued
      row.text = ''
    }
    if (character !== '\n') row.text += character === '\t' ? ' ' : character
  }
  return finished
}
