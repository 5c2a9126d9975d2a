import { check } from './check.ts'
import type { Connection, ProviderId } from './products.ts'
import { type Player, providerNames, type Scene } from './steps.ts'

/** Callbacks no provider signed, events PipeCore did not sign, the key of another product: none may pass. */
export async function refuseForgeries(scene: Scene, players: readonly Player[]): Promise<void> {
  await refuseForgedCallbacks(scene, players)
  await refuseForgedEvents(scene, players)
  await refuseStranger(scene, players)
}

async function refuseForgedCallbacks({ screen, sandbox }: Scene, players: readonly Player[]): Promise<void> {
  const row = screen.row({ product: 'PipeCore', text: 'callbacks, falsely signed: 403' })
  const accounts = new Map<ProviderId, Connection>()
  for (const connection of players.flatMap(({ product }) => product.connections)) {
    accounts.set(connection.provider, connection)
  }
  for (const { provider, account } of accounts.values()) {
    const body = { provider, account, kind: 'signature' }
    const { answered } = await sandbox<{ answered: { status: number } | null }>(
      'POST',
      '/sandbox/callbacks/forge',
      { body },
    )
    check(`The answer to a forged callback of ${providerNames[provider]}`, answered?.status, 403)
    row.refuse(providerNames[provider])
  }
  row.end()
}

async function refuseForgedEvents({ screen }: Scene, players: readonly Player[]): Promise<void> {
  const row = screen.row({ product: 'Backends', text: 'events, falsely signed: 401' })
  for (const { product, backend } of players) {
    const headers = {
      'webhook-id': 'evt_forged',
      'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
      'webhook-signature': `v1,${Buffer.alloc(32).toString('base64')}`,
    }
    const body = JSON.stringify({ id: 'evt_forged', event: 'message.read', tenant_id: product.tenantId })
    const { status } = await fetch(backend.url, { method: 'POST', headers, body })
    check(`The answer of ${product.name}'s backend to a forged event`, status, 401)
    row.refuse(product.name)
  }
  row.end()
}

/** Another product's tenant does not even exist. */
async function refuseStranger({ screen }: Scene, [own, other]: readonly Player[]): Promise<void> {
  if (own === undefined || other === undefined) return
  const text = `${own.product.name}'s key on ${other.product.name}: 404`
  const row = screen.row({ product: 'PipeCore', text })
  await own.pipecore('GET', `/messaging/logs/${other.product.tenantId}`, { status: 404 })
  row.refuse(other.product.tenantId)
  row.end()
}
