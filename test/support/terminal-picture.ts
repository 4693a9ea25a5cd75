export interface TerminalPicture {
  readonly rows: readonly string[]
  readonly cursor: readonly [row: number, column: number]
}

/** What a terminal shows after `output`: enough of ECMA-48 for what readline and the chat write. */
export function pictureOf (output: string, columns: number): TerminalPicture {
  const rows: string[][] = [[]]
  let row = 0
  let column = 0

  const put = (character: string): void => {
    if (column === columns) {
      row++
      column = 0
    }
    const line = rows[row] ??= []
    while (line.length < column) line.push(' ')
    line[column++] = character
  }

  const control = (final: string, count: number): void => {
    if (final === 'A') row = Math.max(0, row - (count || 1))
    else if (final === 'B') row += count || 1
    else if (final === 'C') column += count || 1
    else if (final === 'D') column = Math.max(0, column - (count || 1))
    else if (final === 'G') column = (count || 1) - 1
    else if (final === 'K') rows[row]?.splice(column)
    else if (final === 'J') {
      rows[row]?.splice(column)
      rows.splice(row + 1)
    } else if (final !== 'm') throw new Error(`The picture does not know CSI ${final}`)
  }

  for (const { groups } of output.matchAll(/\u001b\[(?<count>\d*)(?:;\d+)*(?<final>[A-Za-z])|(?<character>[\s\S])/gu)) {
    const { count = '', final, character } = groups ?? {}
    if (final !== undefined) control(final, Number(count))
    else if (character === '\n') row++
    else if (character === '\r') column = 0
    else if (character !== undefined) put(character)
    rows[row] ??= []
  }
  return { rows: Array.from(rows, (line) => (line ?? []).join('').trimEnd()), cursor: [row, column] }
}
