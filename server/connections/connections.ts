import { isDeepStrictEqual } from 'node:util'
import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Database, Tables, TenantScope } from '#core/database.ts'
import { invalidRequest, notFound } from '#core/errors.ts'
import { createId } from '#core/ids.ts'
import { createRecent, type Recent } from '#core/recent.ts'
import { openSecret, type SecretCell, sealSecret } from '#tenants'
import { maskCredentials, parseCredentials } from './credentials.ts'
import { measureCall } from './metrics.ts'
import type { CheckResult, Provider, ProviderContext } from './provider.ts'
import {
  type ConnectionRow,
  deactivateOthers,
  findConnection,
  insertConnection,
  listConnections,
  listConnectionsOfProvider,
  lockCapability,
  updateConnection,
} from './queries.ts'

type Db = Kysely<Tables>

export interface ConnectionInput {
  capability: string
  credentials: unknown
  isActive: boolean
  /** Given: the connection stands beside others of its capability, lowest first. Absent: it replaces them. */
  priority?: number | undefined
  weight?: number | undefined
}

/** A connection with its credentials opened; it never leaves the process. */
export interface OpenConnection<Credentials> {
  id: string
  version: number
  provider: Provider<Credentials>
  credentials: Credentials
}

export interface ConnectionView {
  id: string
  tenant_id: string
  capability: string
  provider: string
  isActive: boolean
  priority: number
  weight: number
  version: number
  credentials: Record<string, unknown>
  created_at: string
  updated_at: string
}

/**
 * Sets a tenant's account at a provider. Saving the same provider with other credentials closes the connection
 * there was, which still ends its messages under way, and opens a new one; saving another provider as active
 * without a priority switches the capability over to it.
 * @throws PipeError `request_invalid` with every fault of the credentials
 */
export async function saveConnection(
  context: Context,
  scope: TenantScope,
  provider: Provider<unknown>,
  input: ConnectionInput,
): Promise<ConnectionView> {
  const credentials = parseCredentials(provider, input.credentials) as object
  const saved = await context.database.asTenant(scope, async (db) => {
    await lockCapability(db, scope.tenantId, input.capability)
    const present = await listConnections(db, scope.tenantId, [input.capability])
    const known = present.find((row) => row.provider === provider.id)
    const isSame =
      known !== undefined &&
      isDeepStrictEqual((await openRow(context, db, known, provider)).credentials, credentials)
    const row = isSame
      ? await updateConnection(db, scope.tenantId, known.id, {
          ...standing(input),
          updated_at: context.now(),
        })
      : await replaceConnection(context, db, scope, { provider, input, credentials, known })
    if (row === undefined) throw notFound('connection', provider.id)
    if (input.isActive && input.priority === undefined) {
      await deactivateOthers(db, scope.tenantId, input.capability, row.id, context.now())
    }
    return presentConnection(row, provider, credentials)
  })
  recentOwners(context.database).forget(ownersKey(scope, input.capability, provider.id))
  return saved
}

function standing(input: ConnectionInput) {
  return { active: input.isActive, priority: input.priority ?? 0, weight: input.weight ?? 100 }
}

interface Replacement {
  provider: Provider<unknown>
  input: ConnectionInput
  credentials: object
  known: ConnectionRow | undefined
}

async function replaceConnection(
  context: Context,
  db: Db,
  scope: TenantScope,
  { provider, input, credentials, known }: Replacement,
): Promise<ConnectionRow> {
  const now = context.now()
  if (known !== undefined) {
    await updateConnection(db, scope.tenantId, known.id, { active: false, deleted_at: now, updated_at: now })
  }
  const id = createId('con', now)
  return insertConnection(db, {
    id,
    tenant_id: scope.tenantId,
    capability: input.capability,
    provider: provider.id,
    sealed_credentials: await sealSecret(
      context,
      db,
      cellOf(scope.tenantId, id),
      JSON.stringify(credentials),
    ),
    version: (known?.version ?? 0) + 1,
    ...standing(input),
  })
}

export async function getConnections(
  context: Context,
  scope: TenantScope,
  capabilities: readonly string[],
  findProvider: (id: string) => Provider<unknown>,
): Promise<ConnectionView[]> {
  return context.database.asTenant(scope, async (db) => {
    const rows = await listConnections(db, scope.tenantId, capabilities)
    const views: ConnectionView[] = []
    for (const row of rows) {
      const provider = findProvider(row.provider)
      views.push(
        presentConnection(row, provider, (await openRow(context, db, row, provider)).credentials as object),
      )
    }
    return views
  })
}

export interface ConnectionChange {
  isActive?: boolean | undefined
  priority?: number | undefined
  weight?: number | undefined
}

/** @throws PipeError 404 */
export async function changeConnection(
  context: Context,
  scope: TenantScope,
  id: string,
  change: ConnectionChange,
  findProvider: (id: string) => Provider<unknown>,
): Promise<ConnectionView> {
  return context.database.asTenant(scope, async (db) => {
    const row = await updateConnection(db, scope.tenantId, id, {
      ...(change.isActive !== undefined && { active: change.isActive }),
      ...(change.priority !== undefined && { priority: change.priority }),
      ...(change.weight !== undefined && { weight: change.weight }),
      updated_at: context.now(),
    })
    if (row === undefined) throw notFound('connection', id)
    const provider = findProvider(row.provider)
    return presentConnection(row, provider, (await openRow(context, db, row, provider)).credentials as object)
  })
}

/** New work stops at once; messages under way still end, and their callbacks still verify, for three days. */
export async function deleteConnection(context: Context, scope: TenantScope, id: string): Promise<void> {
  const row = await context.database.asTenant(scope, (db) =>
    updateConnection(db, scope.tenantId, id, {
      active: false,
      deleted_at: context.now(),
      updated_at: context.now(),
    }),
  )
  if (row === undefined) throw notFound('connection', id)
  recentOwners(context.database).forget(ownersKey(scope, row.capability, row.provider))
}

/** Opens a connection by id, deleted ones included: work ends where it began. */
export async function openConnection<Credentials>(
  context: Context,
  db: Db,
  scope: TenantScope,
  id: string,
  findProvider: (id: string) => Provider<Credentials>,
): Promise<OpenConnection<Credentials>> {
  const row = await findConnection(db, scope.tenantId, id)
  if (row === undefined) throw notFound('connection', id)
  return openRow(context, db, row, findProvider(row.provider))
}

/** The connections that a provider's webhook may belong to, newest first: closed ones still end their messages. */
export async function openConnectionsOfProvider<Credentials>(
  context: Context,
  db: Db,
  scope: TenantScope,
  capability: string,
  provider: Provider<Credentials>,
): Promise<OpenConnection<Credentials>[]> {
  const rows = await listConnectionsOfProvider(db, scope.tenantId, capability, provider.id)
  const connections: OpenConnection<Credentials>[] = []
  for (const row of rows) connections.push(await openRow(context, db, row, provider))
  recentOwners(context.database).set(ownersKey(scope, capability, provider.id), connections)
  return connections
}

/**
 * What `openConnectionsOfProvider` answered within the last minute. A webhook that one of them signed is the tenant's,
 * also when that was closed since; one of none of them may be of a newer connection.
 */
export function recallConnectionsOfProvider<Credentials>(
  { database }: Context,
  scope: TenantScope,
  capability: string,
  provider: Provider<Credentials>,
): OpenConnection<Credentials>[] {
  const known = recentOwners(database).get(ownersKey(scope, capability, provider.id))
  return (known ?? []) as OpenConnection<Credentials>[]
}

const owners = new WeakMap<Database, Recent<string, OpenConnection<unknown>[]>>()

function recentOwners(database: Database): Recent<string, OpenConnection<unknown>[]> {
  const known = owners.get(database) ?? createRecent({ most: 5_000, forMs: 60_000 })
  owners.set(database, known)
  return known
}

function ownersKey({ tenantId }: TenantScope, capability: string, providerId: string): string {
  return `${capability} ${providerId} ${tenantId}`
}

export async function openRow<Credentials>(
  context: Context,
  db: Db,
  row: ConnectionRow,
  provider: Provider<Credentials>,
): Promise<OpenConnection<Credentials>> {
  const known = recallRow(context, row)
  if (known?.provider === provider) return known as OpenConnection<Credentials>
  const text = await openSecret(context, db, cellOf(row.tenant_id, row.id), row.sealed_credentials)
  const parsed = provider.credentials.safeParse(JSON.parse(text))
  if (!parsed.success) {
    throw invalidRequest(`The stored ${provider.title} credentials no longer fit; save them again.`, [])
  }
  const connection = { id: row.id, version: row.version, provider, credentials: parsed.data }
  recentlyOpened(context.database).set(row.sealed_credentials, connection)
  return connection
}

/** A row that was opened within the last minute: what is sealed in the same way opens in the same way. */
export function recallRow({ database }: Context, row: ConnectionRow): OpenConnection<unknown> | undefined {
  const known = recentlyOpened(database).get(row.sealed_credentials)
  return known?.id === row.id && known.version === row.version ? known : undefined
}

const opened = new WeakMap<Database, Recent<string, OpenConnection<unknown>>>()

function recentlyOpened(database: Database): Recent<string, OpenConnection<unknown>> {
  const known = opened.get(database) ?? createRecent({ most: 5_000, forMs: 60_000 })
  opened.set(database, known)
  return known
}

export function providerContext<Credentials>(
  context: Context,
  connection: OpenConnection<Credentials>,
  webhookUrl: string,
): ProviderContext<Credentials> {
  const { provider, credentials } = connection
  return {
    credentials,
    baseUrl:
      context.config.providerUrls[provider.id] ?? provider.baseUrlOf?.(credentials) ?? provider.baseUrl,
    webhookUrl,
    outbound: context.providerOutbound,
    timeoutMs: context.config.providerTimeoutMs,
    now: context.now,
    onCall: (call) => measureCall(context, provider.id, call),
  }
}

export async function checkConnection<Credentials>(
  context: Context,
  scope: TenantScope,
  id: string,
  findProvider: (id: string) => Provider<Credentials>,
  webhookUrlOf: (row: ConnectionRow) => string,
): Promise<CheckResult> {
  const { connection, webhookUrl } = await context.database.asTenant(scope, async (db) => {
    const row = await findConnection(db, scope.tenantId, id)
    if (row === undefined || row.deleted_at !== null) throw notFound('connection', id)
    return {
      connection: await openRow(context, db, row, findProvider(row.provider)),
      webhookUrl: webhookUrlOf(row),
    }
  })
  return connection.provider.check(providerContext(context, connection, webhookUrl))
}

function cellOf(tenantId: string, id: string): SecretCell {
  return { owner: `tenant:${tenantId}`, table: 'connections', row: id, column: 'sealed_credentials' }
}

function presentConnection(
  row: ConnectionRow,
  provider: Provider<unknown>,
  credentials: object,
): ConnectionView {
  return {
    id: row.id,
    tenant_id: row.tenant_id,
    capability: row.capability,
    provider: row.provider,
    isActive: row.active,
    priority: row.priority,
    weight: row.weight,
    version: row.version,
    credentials: maskCredentials(provider, credentials),
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  }
}
