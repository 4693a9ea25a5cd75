#!/usr/bin/env node
import { runChat } from './chat/run-chat.ts'

// Whoever read the output is gone, as after `| head -1`; there is nobody left to chat with.
process.stdout.on('error', () => { process.exit(1) })

process.exitCode = await runChat(process.argv.slice(2), process.env, process)
