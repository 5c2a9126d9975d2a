import { describe, test } from 'node:test'
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { modules, providerIds } from './modules.ts'
import {
  importsFollowModules,
  listImports,
  needsPointUpwards,
  outsidersKeepOut,
} from './testing/architecture/imports.ts'
import { migrationList, migrationsStay } from './testing/architecture/migrations.ts'
import {
  filesStaySmall,
  modulesHaveAFace,
  namesSaySomething,
  functionsAreNamedFirst,
  nothingPrintsToTheConsole,
  onlyEntryPointsReadTheEnvironment,
  providersAreNamedAtHome,
  routesNameTheirScope,
} from './testing/architecture/shape.ts'
import { readSourceFiles, readTokens, type SourceFile } from './testing/architecture/source-file.ts'
import { type TableException, tablesHaveOneOwner } from './testing/architecture/tables.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const folders = ['server', 'sandbox', 'acceptance', 'demo', 'scripts', 'examples', 'bench']
const outsiders = ['sandbox', 'acceptance', 'demo']
const tree = await readSourceFiles(root, folders, ['.ts', '.sql', '.sha256'])
const code = tree.filter(({ path }) => path.endsWith('.ts'))
const listedMigrations = tree.find(({ path }) => path === migrationList)?.text ?? ''
const moduleNames = modules.map(({ name }) => name)

const tableExceptions: readonly TableException[] = [
  ...['webhooks/inbound', 'webhooks/outbound'].map((module) => ({
    module,
    table: 'partitioned_tables',
    reason: 'Its migration registers its logs by day with the job that makes and drops partitions.',
  })),
  {
    module: 'webhooks/outbound',
    table: 'work',
    reason: 'A delivery that is still open lives only there; it reads it through the type JobsTables.',
  },
  {
    module: 'webhooks/outbound',
    table: 'dead_work',
    reason: 'A delivery that was given up lives only there; replays read it through the type JobsTables.',
  },
]

/** A rule that was never seen failing may be reading nothing. */
function rule(
  sentence: string,
  check: (files: readonly SourceFile[]) => string[],
  violations: readonly SourceFile[],
): void {
  describe(sentence, () => {
    test('holds in the tree', () => assert.deepEqual(check(tree), []))
    for (const violation of violations) {
      const sample = violation.text.split('\n')[0]?.slice(0, 70)
      test(`is seen failing in ${violation.path}: ${sample}`, () =>
        assert.equal(check([violation]).length, 1, check([violation]).join('\n')))
    }
  })
}

function file(path: string, text: string): SourceFile {
  return { path, text }
}

test('the tree is really read', () => {
  assert.ok(code.length > 150, `${code.length} files`)
  const imports = code.flatMap(({ text }) => listImports(text))
  assert.ok(imports.length > 500, `${imports.length} imports`)
  assert.equal(
    code.find(({ path }) => path === 'server/architecture.test.ts')?.text.includes('really read'),
    true,
  )
})

test('tokens: strings, templates, patterns and comments are told apart', () => {
  const text = [
    "const a = 'it''s' // import 'comment'",
    '/* import "block" */ const b = /[/"]\'/g.test(`x${`y${1 / 2}`}z`) / 3',
  ].join('\n')
  const tokens = readTokens(text).filter(({ kind }) => kind !== 'word' && kind !== 'mark')
  assert.deepEqual(
    tokens.map(({ kind, value, line }) => `${line} ${kind} ${value}`),
    [
      '1 text it',
      '1 text s',
      `2 pattern /[/"]'/g`,
      '2 template x…z',
      '2 template y…',
      '2 number 1',
      '2 number 2',
      '2 number 3',
    ],
  )
})

test('imports: every form is found, and nothing in comments or strings', () => {
  const text = `
import 'a'
import b from 'b'
import type { from } from 'c' // import 'no'
import { x as from } from 'd'
export { e } from 'e'
export type { f } from 'f'
export * from 'g'
export * as h from 'h'
const i = await import('i')
type J = import('j').J
/* import 'no' */
const url = import.meta.url
const text = "import 'no'; export * from 'no'"
const template = \`import 'no' \${await import('k')}\`
loader.import('no')
export { url }
export const from = 'no'
`
  assert.deepEqual(
    listImports(text).map(({ specifier }) => specifier),
    'abcdefghijk'.split(''),
  )
})

rule(
  'a module imports others only through their faces, only those it needs, and core imports none',
  importRule,
  [
    file('server/messaging/a.ts', "import { findTenant } from '../tenants/queries.ts'"),
    file('server/messaging/routes/a.ts', "const queries = await import('../../jobs/queries.ts')"),
    file('server/tenants/a.ts', "import type { JobsTables } from '#jobs'"),
    file('server/webhooks/inbound/a.ts', "export { recordEvents } from '#webhooks/outbound'"),
    file('server/messaging/a.ts', "import { messaging } from '#messaging'"),
    file('server/messaging/a.ts', "import { pay } from '#payments'"),
    file('server/core/a.ts', "import { authenticate } from '#tenants'"),
    file('server/core/a.ts', "import { Caller } from '../tenants/caller.ts'"),
    file('server/server.ts', "import { saveProvider } from './messaging/config.ts'"),
    file('server/jobs/a.ts', "import { createApp } from '../app.ts'"),
    file('server/deliveries/a.ts', "import { seal } from '#core/sealing.ts'"),
    file('server/messaging/a.ts', "import { startReceiver } from '../testing/receiver.ts'"),
    file('server/messaging/a.ts', "import { startSandbox } from '../../sandbox/sandbox.ts'"),
    file('server/messaging/a.test.ts', "import { startSandbox } from '../../sandbox/sandbox.ts'"),
    file('server/testing/a.ts', "import { startPipeCore } from '../../acceptance/harness.ts'"),
  ],
)

function importRule(files: readonly SourceFile[]): string[] {
  return importsFollowModules(files, modules)
}

test('a module needs only modules above it in modules.ts', () => {
  assert.deepEqual(needsPointUpwards(modules), [])
  const swapped = [
    { name: 'jobs', needs: ['tenants'] },
    { name: 'tenants', needs: [] },
  ]
  assert.equal(needsPointUpwards(swapped).length, 1)
})

rule('what stands beside the server imports nothing from it', (files) => outsidersKeepOut(files, outsiders), [
  file('acceptance/a.test.ts', "import { createId } from '../server/core/ids.ts'"),
  file('sandbox/providers/a.ts', "import type { Channel } from '../../server/messaging/schema.ts'"),
  file('demo/a.ts', "import { createId } from '#core/ids.ts'"),
])

rule('a table is named only by the module that owns it', tableRule, [
  file('server/messaging/queries.ts', "db.selectFrom('tenants').selectAll()"),
  file(
    'server/messaging/queries.ts',
    "db.selectFrom('messages').innerJoin('tenants as t', 't.id', 'tenant_id')",
  ),
  file('server/messaging/queries.ts', "db.updateTable('connections').set({ active: false })"),
  file('server/messaging/queries.ts', "db.deleteFrom('work')"),
  file('server/messaging/queries.ts', 'sql`select id from pipecore.events where ${filter}`'),
  file('server/jobs/queries.ts', "client.query('insert into messages (id) values ($1)', [id])"),
  file('server/tenants/migrations/0002.sql', '-- from messages\nalter table messages add column note text;'),
  file('server/jobs/tables.ts', 'export interface JobsTables { tenants: { id: string } }'),
])

function tableRule(files: readonly SourceFile[]): string[] {
  const declarations = tree.filter(({ path }) => /\/tables\.ts$|\.sql$/.test(path))
  const known = files === tree ? [] : declarations.filter(({ path }) => path !== files[0]?.path)
  return tablesHaveOneOwner([...known, ...files], moduleNames, tableExceptions)
}

rule('a migration stays as it was listed', (files) => migrationsStay(files, listedMigrations), [
  file('server/jobs/migrations/0001_work.sql', 'create table work (id text)'),
  file('server/jobs/migrations/9999_new.sql', 'drop table work'),
  file(migrationList, `${'0'.repeat(64)}  jobs/migrations/0001_gone.sql\n`),
])

rule('providers are named only in providers/', (files) => providersAreNamedAtHome(files, providerIds), [
  file('server/messaging/send-job.ts', "if (provider.id === 'twilio') return"),
  file('server/core/config.ts', 'const ids = [`resend`]'),
  file('server/messaging/a.ts', "import { meta } from './providers/meta.ts'"),
])

rule('no file has more than 500 lines', filesStaySmall, [file('server/a.ts', 'x\n'.repeat(501))])

rule('no folder or file is a dumping ground, and names are kebab-case', namesSaySomething, [
  file('server/core/utils/ids.ts', ''),
  file('sandbox/helpers.ts', ''),
  file('server/jobs/test-helper.ts', ''),
  file('scripts/lib/a.ts', ''),
  file('server/core/processLock.ts', ''),
])

rule('only entry points and tests read process.env', onlyEntryPointsReadTheEnvironment, [
  file('server/core/config.ts', 'const port = process.env.PORT'),
  file('server/jobs/a.ts', "const { env } = { env: process.env['TZ'] }"),
])

rule('nothing in the server prints to the console', nothingPrintsToTheConsole, [
  file('server/jobs/a.ts', "console.log('here')"),
  file('server/jobs/a.test.ts', 'console.error(error)'),
])

rule('a function is not assigned to a property as it is written', functionsAreNamedFirst, [
  file('server/jobs/a.ts', 'run.end = () => close()'),
  file('server/jobs/a.ts', 'run.end = async (why: string): Promise<void> => close(why)'),
  file('server/jobs/a.ts', 'run.end = run => run.close()'),
  file('server/jobs/a.ts', 'run.end = function () {}'),
  file('server/jobs/a.ts', 'run.end = <Cause>(cause: Cause) => close(cause)'),
  file('server/jobs/a.ts', 'run.end ??= () => close()'),
])

rule('every module has a short index.ts with named exports', faceRule, [
  file('server/jobs/index.ts', "export * from './jobs.ts'"),
  file('server/jobs/index.ts', "export type * from './schema.ts'"),
  file('server/jobs/index.ts', 'export default {}'),
  file('server/jobs/index.ts', '\n'.repeat(61)),
  file('server/jobs/face.ts', 'export {}'),
])

function faceRule(files: readonly SourceFile[]): string[] {
  return modulesHaveAFace(files, files === tree ? moduleNames : ['jobs'])
}

rule('every route names a scope or says it is public', routesNameTheirScope, [
  file('server/jobs/routes.ts', "app.get('/jobs', { schema: { summary: 'scope: none' } }, async () => ({}))"),
  file('server/jobs/routes.ts', "app.get('/jobs', { schema: { scope: 'x' }, config: { limit: 1 } }, list)"),
  file(
    'server/jobs/routes.ts',
    "const config = { limit: 1 }\napp.get('/jobs', { config, schema: {} }, list)",
  ),
  file('server/jobs/routes.ts', "app.route({ method: 'GET', url: '/jobs', handler })"),
])
