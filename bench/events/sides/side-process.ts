/** Delivers as one of the sides, on orders of the process that forked it. */
import { createBareLoop } from './bare-loop.ts'
import { createGraphileWorker } from './graphile-worker.ts'
import { createPgBoss } from './pg-boss.ts'
import type { ChildSide, Done, Order, Rival, SideSettings } from './side.ts'

const [name = '', settings = '{}'] = process.argv.slice(2)

const makers: Record<ChildSide, (settings: SideSettings) => Rival | Promise<Rival>> = {
  'bare loop': createBareLoop,
  'graphile-worker': createGraphileWorker,
  'pg-boss': createPgBoss,
}

const rival = await makers[name as ChildSide](JSON.parse(settings) as SideSettings)

function obey(order: Order): Promise<void> {
  return order.order === 'fill' ? rival.fill(order.count, order.tenants) : rival[order.order]()
}

function answer(done: Done): void {
  process.send?.(done)
}

process.on('message', (order: Order) => {
  obey(order).then(
    () => answer({ done: true }),
    (error: unknown) => answer({ error: String(error) }),
  )
})
answer({ done: true })
