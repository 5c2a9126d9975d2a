import { type Client, createClient, type PipeCore } from '../harness.ts'
import type { Place, Receiver } from './receiver.ts'

/** An endpoint as PipeCore is told of it, and the manners of who is behind it. */
export interface EndpointPlan extends Place {
  /** Types of its events. */
  events: readonly string[]
  ordered?: boolean
  max_in_flight?: number
  max_per_second?: number
}

export interface Shop {
  api: PipeCore
  admin: Client
  /** Of the product's backend. */
  key: string
  tenants: readonly string[]
  receiver: Receiver
  endpoints: readonly EndpointPlan[]
  /** Ids of the endpoints by path. */
  endpointIds: Map<string, string>
}

const productId = 'shop'

/** A product that publishes events of its own for several tenants, to endpoints of all of them. */
export async function openShop(
  api: PipeCore,
  receiver: Receiver,
  options: { tenants: number; types: readonly string[]; endpoints: readonly EndpointPlan[] },
): Promise<Shop> {
  const admin = createClient(api.url, api.adminKey)
  const tenants = Array.from({ length: options.tenants }, (_, index) => `shop_${index + 1}`)
  await admin.ok('POST', '/products', { id: productId, name: productId })
  for (const id of tenants) await admin.ok('POST', '/tenants', { id, product_id: productId, name: id })
  const { key } = await admin.ok<{ key: string }>('POST', `/products/${productId}/keys`, { name: 'backend' })
  for (const type of options.types) {
    await admin.ok('PUT', `/webhooks/catalog/${type}`, { product_id: productId, version: 1, schema })
  }
  const endpointIds = new Map<string, string>()
  for (const { path, events, treat, answerMs, ...limits } of options.endpoints) {
    receiver.open({ path, treat, ...(answerMs !== undefined && { answerMs }) })
    const endpoint = { url: receiver.url + path, product_id: productId, events, ...limits }
    const made = await admin.ok<{ id: string; secret: string }>('POST', '/webhooks/endpoints', endpoint)
    receiver.trust(path, made.secret)
    endpointIds.set(path, made.id)
  }
  return { api, admin, key, tenants, receiver, endpoints: options.endpoints, endpointIds }
}

const schema = {
  type: 'object',
  properties: { ref: { type: 'string' }, entity: { type: 'string' }, place: { type: 'integer' } },
  required: ['ref', 'entity', 'place'],
  additionalProperties: false,
}
