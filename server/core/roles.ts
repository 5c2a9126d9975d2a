import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import pg from 'pg'
import type { DatabaseUrls } from './database.ts'
import { PipeError } from './errors.ts'

const groups = { app: 'pipecore_app', system: 'pipecore_system' } as const
const logins = {
  // Below the client's own limit: a statement that is given up is given up on both sides.
  app: { group: groups.app, longest: '45s' },
  system: { group: groups.system, longest: '45s' },
  upkeep: { group: groups.system, longest: '0' },
} as const

/**
 * Makes the two groups that policies name and, per database, logins in them: one of the tenants, one of the system,
 * and one of the system whose statements may take as long as they need. None owns anything or bypasses row-level
 * security. What is set for a login holds behind a transaction pooler as well. Their passwords derive from a secret that
 * only the owner can read, so every process of an installation finds the same ones.
 */
export async function prepareRoles(owner: pg.Client, ownerUrl: string): Promise<DatabaseUrls> {
  const database = new URL(ownerUrl).pathname.slice(1)
  await owner.query('begin')
  try {
    await owner.query('select pg_advisory_xact_lock(715001)')
    for (const group of Object.values(groups)) await createRole(owner, group, 'nologin')
    const secret = await readSecret(owner)
    const urlOf = (kind: keyof DatabaseUrls) => roleUrl(ownerUrl, secret, kind)
    const urls = { app: urlOf('app'), system: urlOf('system'), upkeep: urlOf('upkeep') }
    for (const [kind, { group, longest }] of Object.entries(logins)) {
      const url = new URL(urls[kind as keyof DatabaseUrls])
      const login = loginName(kind as keyof DatabaseUrls, database)
      await createRole(owner, login, 'login')
      const name = pg.escapeIdentifier(login)
      const password = pg.escapeLiteral(toVerifier(login, decodeURIComponent(url.password)))
      await owner.query(`alter role ${name} password ${password}`)
      await owner.query(`grant ${group} to ${name}`)
      const here = `alter role ${name} in database ${pg.escapeIdentifier(database)}`
      await owner.query(`${here} set search_path = pipecore`)
      await owner.query(`${here} set idle_in_transaction_session_timeout = '30s'`)
      await owner.query(`${here} set statement_timeout = '${longest}'`)
    }
    await owner.query('commit')
    return urls
  } catch (error) {
    await owner.query('rollback')
    if ((error as { code?: string }).code !== insufficientPrivilege) throw error
    throw new PipeError(
      'roles_not_allowed',
      500,
      `The role of DATABASE_URL may not make or grant PipeCore's roles. It needs CREATEROLE; where another role made ${Object.values(groups).join(' and ')} in this cluster before, grant it those with admin option.`,
      { cause: error },
    )
  }
}

const insufficientPrivilege = '42501'

async function readSecret(owner: pg.Client): Promise<string> {
  await owner.query('create schema if not exists pipecore')
  await owner.query('create table if not exists pipecore.installation (secret text not null)')
  await owner.query(
    'insert into pipecore.installation (secret) select $1 where not exists (select from pipecore.installation)',
    [randomBytes(32).toString('hex')],
  )
  const { rows } = await owner.query<{ secret: string }>('select secret from pipecore.installation')
  return rows[0]?.secret ?? ''
}

async function createRole(owner: pg.Client, name: string, login: 'login' | 'nologin'): Promise<void> {
  const { rowCount } = await owner.query('select 1 from pg_roles where rolname = $1', [name])
  if (rowCount === 0) await owner.query(`create role ${pg.escapeIdentifier(name)} ${login}`)
}

const iterations = 4096

/**
 * A password as PostgreSQL keeps it (SCRAM-SHA-256), the same at every start: a pooler lets clients in by what is
 * kept, and those that know an earlier salt could no longer be given connections.
 */
function toVerifier(login: string, password: string): string {
  const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest()
  const salt = createHmac('sha256', password).update(`salt of ${login}`).digest().subarray(0, 16)
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  const storedKey = createHash('sha256').update(hmac(salted, 'Client Key')).digest()
  const keys = [storedKey, hmac(salted, 'Server Key')].map((key) => key.toString('base64'))
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${keys.join(':')}`
}

function loginName(kind: keyof DatabaseUrls, database: string): string {
  return `pipecore_${kind}_${database}`.slice(0, 63)
}

/** Keeps what follows the first dot of the owner's user name: poolers such as Supabase's route by it. */
function roleUrl(ownerUrl: string, secret: string, kind: keyof DatabaseUrls): string {
  const url = new URL(ownerUrl)
  const routing = decodeURIComponent(url.username).split('.').slice(1).join('.')
  const login = loginName(kind, url.pathname.slice(1))
  url.password = createHmac('sha256', secret).update(`pipecore role ${login}`).digest('hex')
  url.username = encodeURIComponent(routing === '' ? login : `${login}.${routing}`)
  return url.href
}
