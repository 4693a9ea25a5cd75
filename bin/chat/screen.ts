import type { Printed } from './render-event.ts'

/** Where the chat is printed. Texts that grow are continued in place as long as nothing else comes between. */
export interface Screen {
  print (printed: Printed): void
  /** Below everything, where there is somebody to type. */
  setPrompt (prompt: string): void
  close (): void
}

/** For a pipe or a file: only ever appends. */
export function createPlainScreen (write: (text: string) => void): Screen {
  let open: string | undefined

  const end = (): void => {
    if (open !== undefined) write('\n')
    open = undefined
  }

  return {
    print (printed) {
      if (printed.kind === 'line') {
        end()
        write(`${printed.text}\n`)
        return
      }
      if (open !== printed.of) {
        end()
        write(printed.lead)
        open = printed.of
      }
      write(printed.text.replaceAll('\n', '\n  '))
    },
    setPrompt () {},
    close: end
  }
}
