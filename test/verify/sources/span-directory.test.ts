import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { readSpanPath } from '../../../verify/sources/span-directory.ts'
import { makeTrace } from '../../support/made-trace.ts'
import { allSpans, hear, toOtlpJson } from '../../support/span-files.ts'

const trace = (user: string): Buffer => toOtlpJson(makeTrace({ seed: user, user, tools: 0 }).slice(0, 1))

t.test('the files of a directory are read in the order in which they were written, those that were rotated away first', async (t) => {
  const folder = t.testdir()
  await mkdir(join(folder, 'by-service'))
  const written = [
    'by-service/shop.json', 'traces-2026-11-22T09-00-00.000.json', 'traces-2026-11-22T09-00-00.001-size.json.gz', 'traces-2026-11-22T10-00-00.000.json', 'traces.json'
  ]
  for (const file of written.toReversed()) await writeFile(join(folder, file), file.endsWith('.gz') ? gzipSync(trace(file)) : trace(file))
  const heard = hear()

  const spans = await allSpans(readSpanPath(folder, heard))

  t.same(spans.map(({ attributes }) => attributes['user.id']), written)
  t.same([...heard.problems, ...heard.notes], [])
})

t.test('what is no trace file is named as skipped, and one that is damaged is a problem', async (t) => {
  const folder = t.testdir({
    'README.md': '# Traces', 'settings.json': '{"retention":5}', 'page.html': '<html></html>', '.hidden': 'x', 'empty.json': '', 'cut.json': '{"resourceSpans":[{"resou'
  })
  await writeFile(join(folder, 'traces.json'), trace('alice'))
  await symlink(folder, join(folder, 'link'))
  const heard = hear()

  const spans = await allSpans(readSpanPath(folder, heard))

  t.equal(spans.length, 1)
  t.same(heard.problems, [`Could not read 1 line of ${join(folder, 'cut.json')}: line 1 is no complete JSON`])
  t.same(new Set(heard.notes), new Set([
    `Skipped ${join(folder, 'README.md')}: it is no trace file`,
    `Skipped ${join(folder, 'page.html')}: it is no trace file`,
    `Skipped ${join(folder, 'settings.json')}: it holds no traces`,
    `Skipped ${join(folder, 'link')}: it is no file`,
    `${join(folder, 'empty.json')} is empty`
  ]))
})

t.test('a link to a file is that file, and one that leads nowhere is a problem', async (t) => {
  const folder = t.testdir({ 'elsewhere.json': trace('alice').toString(), directory: {} })
  await symlink(join(folder, 'elsewhere.json'), join(folder, 'directory', 'link.json'))
  await symlink(join(folder, 'nowhere.json'), join(folder, 'directory', 'nowhere.json'))
  const heard = hear()

  const spans = await allSpans(readSpanPath(join(folder, 'directory'), heard))

  t.equal(spans.length, 1)
  t.match(heard.problems, [/nowhere\.json: it does not exist/])
})

t.test('a path that is not there is a problem, and so is a file of something else', async (t) => {
  const folder = t.testdir({ 'settings.json': '{"retention":5}', empty: {} })
  const heard = hear()

  await allSpans(readSpanPath(join(folder, 'nowhere'), heard))
  await allSpans(readSpanPath(join(folder, 'settings.json'), heard))
  await allSpans(readSpanPath(join(folder, 'empty'), heard))

  t.same(heard.problems, [
    `Could not read ${join(folder, 'nowhere')}: it does not exist`,
    `Could not read ${join(folder, 'settings.json')}: JSON, but neither OTLP's nor Jaeger's`
  ])
  t.same(heard.notes, [`${join(folder, 'empty')} has no files`])
})
