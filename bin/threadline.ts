#!/usr/bin/env node
const usage = `threadline verify …    checks by their traces that identity was never lost and never crossed
threadline migrate …   brings a Postgres database to the newest state, and makes the login that servers use
threadline doctor …    checks what a server needs: database, roles, policies, Redis, clocks and settings, and says what to do

  threadline verify --help, threadline migrate --help and threadline doctor --help tell the rest
`

const [command, ...args] = process.argv.slice(2)
// Each command loads what it needs and no more.
switch (command) {
  case 'verify':
    process.exitCode = await (await import('./verify/run-verify.ts')).runVerify(args, process.env, process)
    break
  case 'migrate':
    process.exitCode = await (await import('./migrate/run-migrate.ts')).runMigrate(args, process.env, process)
    break
  case 'doctor':
    process.exitCode = await (await import('./doctor/run-doctor.ts')).runDoctor(args, process.env, process)
    break
  case '--help': case '-h':
    process.stdout.write(usage)
    break
  default:
    process.stderr.write(command === undefined ? usage : `There is no command ${JSON.stringify(command)}\n\n${usage}`)
    process.exitCode = 2
}
