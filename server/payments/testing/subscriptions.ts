import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Method } from '../methods/schema.ts'
import type { Payment } from '../schema.ts'
import type { Subscription, SubscriptionStory } from '../subscriptions/schema.ts'
import {
  followBrowser,
  type PaymentsServer,
  type ProviderId,
  type ReceivedEvent,
  tenantId,
} from './server.ts'

export const hourMs = 60 * 60 * 1000
export const dayMs = 24 * hourMs

const path = '/payments/subscriptions'
export const monthly = {
  amount: 9_990,
  currency: 'CLP',
  interval: { every: 'month', count: 1 },
  description: 'Plan Restaurante',
  customer: { reference: 'customer_1', email: 'ana@example.com' },
}

/** What a tenant's backend does with subscriptions. */
export interface Subscriber {
  create(body: object, headers?: Record<string, string>): Promise<Subscription>
  read(id: string): Promise<SubscriptionStory>
  change(id: string, patch: object): Promise<Subscription>
  cancel(id: string): Promise<Subscription>
  /** Those of this test charge no more, whatever became of them. */
  cancelAll(): Promise<void>
  /** Waits until it is as wanted; rejects after the deadline with how it is. */
  until(id: string, fits: (subscription: SubscriptionStory) => boolean): Promise<SubscriptionStory>
  /** As `until`, while minutes pass: for what the janitor has to find out. */
  waitFor(id: string, fits: (subscription: SubscriptionStory) => boolean): Promise<SubscriptionStory>
  payments(id: string): Promise<Payment[]>
  /** How often the provider took money for it, by its own books. */
  countCharged(provider: ProviderId, id: string): Promise<number>
  /** Moves the clocks to an hour after the end of its period. */
  passPeriod(id: string): Promise<void>
  /** The subscription's own events that the backend was told, once there are as many as these; they must be these. */
  told(id: string, names: readonly string[]): Promise<ReceivedEvent[]>
}

export function createSubscriber(server: PaymentsServer): Subscriber {
  const read = async (id: string) => (await server.api.call<SubscriptionStory>('GET', `${path}/${id}`)).body
  const ask = async (method: string, url: string, status: number, body?: object, headers = {}) => {
    const answer = await server.api.call<Subscription>(method, url, body, headers)
    assert.equal(answer.status, status, JSON.stringify(answer.body))
    return answer.body
  }
  const payments = async (id: string) => {
    const list = `/payments?tenant_id=${tenantId}&subscription_id=${id}&limit=200`
    const { body } = await server.api.call<{ data: Payment[] }>('GET', list)
    return body.data.toReversed()
  }
  const told = async (id: string) => {
    const about = (await server.eventsOf(id)).filter(({ event }) => event.startsWith('subscription.'))
    return about.toSorted((one, other) => (String(one['id']) < String(other['id']) ? -1 : 1))
  }
  const begun = new Set<string>()
  return {
    read,
    create: async (body, headers) => {
      const subscription = await ask('POST', path, 201, { tenant_id: tenantId, ...monthly, ...body }, headers)
      begun.add(subscription.id)
      return subscription
    },
    cancelAll: async () => {
      for (const id of begun) await server.api.call('POST', `${path}/${id}/cancel`)
      begun.clear()
    },
    change: (id, patch) => ask('PATCH', `${path}/${id}`, 200, patch),
    cancel: (id) => ask('POST', `${path}/${id}/cancel`, 200),
    until: (id, fits) => untilFits(() => read(id), fits),
    waitFor: (id, fits) => waitFor(server, () => read(id), fits),
    payments,
    countCharged: async (provider, id) => {
      // Where PipeCore charges by itself, the books name each payment; else the subscription.
      const references = provider === 'transbank' ? await payments(id) : [{ id }]
      const books = await Promise.all(references.map((one) => server.books(provider, one)))
      return books.reduce((sum, { charges }) => sum + charges, 0)
    },
    passPeriod: async (id) => {
      const now = server.server.context.now().getTime()
      const end = new Date((await read(id)).period_end ?? now).getTime()
      await server.passTime(Math.max(end - now, 0) + hourMs)
    },
    told: async (id, names) => {
      const events = await untilFits(
        () => told(id),
        ({ length }) => length >= names.length,
      )
      // Those of one moment may arrive in any order.
      assert.deepEqual(
        events.map(({ event }) => event.slice('subscription.'.length)).toSorted(),
        names.toSorted(),
      )
      return events
    },
  }
}

const longestMs = 30_000

async function untilFits<Value>(read: () => Promise<Value>, fits: (value: Value) => boolean): Promise<Value> {
  const deadline = performance.now() + longestMs
  for (;;) {
    const current = await read()
    if (fits(current)) return current
    assert.ok(performance.now() < deadline, `still ${JSON.stringify(current)}`)
    await sleep(25)
  }
}

const mostSteps = 80

async function waitFor<Value>(
  server: PaymentsServer,
  read: () => Promise<Value>,
  fits: (value: Value) => boolean,
): Promise<Value> {
  for (let step = 0; ; step += 1) {
    const current = await read()
    if (fits(current)) return current
    assert.ok(step < mostSteps, `still ${JSON.stringify(current)}`)
    await server.passTime(45_000)
    await sleep(250)
  }
}

export interface SavedCard {
  methodId: string
  /** What Oneclick calls the card, for the sandbox. */
  tbkUser: string
}

/** A card that the customer saved on Oneclick's page. */
export async function saveOneclickCard(server: PaymentsServer): Promise<SavedCard> {
  const { body } = await server.api.call<Method>('POST', '/payments/methods', {
    tenant_id: tenantId,
    provider: 'transbank',
    customer: monthly.customer,
    return_url: 'https://shop.example.com/cards',
  })
  await visitPage(server, 'transbank', body.next_action?.fields['TBK_TOKEN'], 'approve')
  const saved = await server.api.call<Method>('GET', `/payments/methods/${body.id}`)
  assert.equal(saved.body.status, 'active', JSON.stringify(saved.body))
  // Ending what nobody began names the card that was saved last.
  const act = { provider: 'transbank', action: 'decline_next', response_code: null }
  const { tbk_user: tbkUser } = await server.control<{ tbk_user: string }>('POST', 'act', act)
  return { methodId: body.id, tbkUser }
}

/** What the customer chooses on a provider's page; follows the browser back through PipeCore. */
export async function visitPage(
  server: PaymentsServer,
  provider: ProviderId,
  id: string | undefined,
  choice: string,
  extra: object = {},
): Promise<URL | undefined> {
  assert.ok(id, 'there is no page')
  type Step = Parameters<typeof followBrowser>[0]
  const { next } = await server.control<{ next: Step | null }>('POST', 'pay', {
    provider,
    id,
    choice,
    ...extra,
  })
  return next === null ? undefined : followBrowser(next)
}
