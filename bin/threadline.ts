#!/usr/bin/env node
import { runVerify } from './verify/run-verify.ts'

const usage = `threadline verify …   checks by their traces that identity was never lost and never crossed

  threadline verify --help   tells the rest
`

const [command, ...args] = process.argv.slice(2)
switch (command) {
  case 'verify':
    process.exitCode = await runVerify(args, process.env, process)
    break
  case '--help': case '-h':
    process.stdout.write(usage)
    break
  default:
    process.stderr.write(command === undefined ? usage : `There is no command ${JSON.stringify(command)}\n\n${usage}`)
    process.exitCode = 2
}
