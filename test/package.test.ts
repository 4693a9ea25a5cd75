import { cp, mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..')
const modules = join(root, 'node_modules')

/** A project of a team that has installed the package: as it is packed, with its dependencies beside it. */
async function installPackage (t: { teardown (fn: () => Promise<void>): void }): Promise<string> {
  const project = await mkdtemp(join(tmpdir(), 'threadline-package-'))
  t.teardown(async () => { await rm(project, { recursive: true, force: true }) })
  const source = join(project, 'source')
  await mkdir(join(project, 'node_modules'), { recursive: true })
  // Built apart from the checkout, so that nothing which is there by chance is packed.
  await run(process.execPath, [join(modules, 'typescript/lib/tsc.js'), '-p', join(root, 'tsconfig.build.json'), '--outDir', join(source, 'dist')])
  for (const name of ['package.json', 'docs']) await cp(join(root, name), join(source, name), { recursive: true })
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', project], { cwd: source })
  await run('tar', ['-xzf', join(project, stdout.trim()), '-C', join(project, 'node_modules')])
  await rename(join(project, 'node_modules/package'), join(project, 'node_modules/threadline'))
  for (const name of await readdir(modules)) {
    if (name !== 'threadline' && !name.startsWith('.')) await symlink(join(modules, name), join(project, 'node_modules', name))
  }
  await writeFile(join(project, 'package.json'), '{ "type": "module" }')
  return project
}

const team = {
  'agent.js': `
    import { bindThread, currentThread } from 'threadline/context'
    import { defineAgent } from 'threadline/agents'
    export default defineAgent({
      name: 'greeter',
      async * run () { yield { type: 'text', text: 'I serve ' + bindThread(() => currentThread().userId)() } }
    })
  `,
  'use-stage.js': `
    import { openStage } from 'threadline/testing'
    import greeter from './agent.js'
    const stage = await openStage({ agents: [greeter] })
    const alice = await stage.enter('alice')
    const { payload } = await alice.say('hello', { agent: 'greeter' })
    const { verdict } = await stage.verify()
    await stage.close()
    console.log(JSON.stringify({ content: payload.content, verdict }))
  `,
  'lint.js': `
    import { ESLint } from 'eslint'
    import threadline from 'threadline/eslint'
    const eslint = new ESLint({ overrideConfigFile: true, overrideConfig: [threadline.configs.recommended] })
    const [{ messages }] = await eslint.lintText("import { currentThread } from 'threadline/context'; emitter.on('news', () => currentThread())")
    console.log(JSON.stringify(messages.map(({ ruleId }) => ruleId)))
  `,
  'typed.ts': `
    import { defineAgent, type Agent } from 'threadline/agents'
    import { currentThread, type ThreadIdentity } from 'threadline/context'
    import plugin from 'threadline/eslint'
    import { openStage, testIsolation, type Stage } from 'threadline/testing'
    import { defineTool } from 'threadline/tools'
    import threadline from 'threadline'
    export const agent: Agent = defineAgent({ name: 'typed', async * run ({ content }) { yield { type: 'text', text: content } } })
    export const who = (): ThreadIdentity => currentThread()
    export const stage = (): Promise<Stage> => openStage({ agents: [agent] })
    export const tested = async (): Promise<boolean> => (await testIsolation(agent)).passed
    export const rules: string[] = Object.keys(plugin.rules)
    export { defineTool, threadline }
    // @ts-expect-error -- an agent has a name
    defineAgent({ async * run () { yield { type: 'text', text: '' } } })
  `,
  'tsconfig.json': JSON.stringify({
    compilerOptions: { target: 'es2024', lib: ['esnext'], module: 'nodenext', types: ['node'], strict: true, noEmit: true, skipLibCheck: true },
    files: ['typed.ts']
  })
}

t.test('a team uses the stage, the rules and the types from the package', async (t) => {
  const project = await installPackage(t)
  await Promise.all(Object.entries(team).map(async ([name, text]) => { await writeFile(join(project, name), text) }))

  const staged = await run(process.execPath, ['use-stage.js'], { cwd: project })
  const linted = await run(process.execPath, ['lint.js'], { cwd: project })
  const checked = await run(process.execPath, [join(modules, 'typescript/lib/tsc.js')], { cwd: project })

  t.same(JSON.parse(staged.stdout), { content: 'I serve alice', verdict: 'clean' })
  t.same(JSON.parse(linted.stdout), ['threadline/bound-listener'])
  t.equal(checked.stdout, '')
})
