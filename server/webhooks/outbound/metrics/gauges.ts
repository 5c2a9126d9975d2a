import type { Context } from '#core/context.ts'
import type { GaugeSource, Reading } from '#core/metrics/gauges.ts'
import { backlogGauges } from '#jobs'
import { recordedGauges } from './recorded.ts'
import { countStates, listUnwell } from './queries.ts'

/** Endpoints that get a label of their own; all others are one. */
export const mostEndpointsShown = 100

const states = ['healthy', 'failing', 'open', 'catching_up', 'disabled']

export function gauges(context: Context): readonly GaugeSource[] {
  const backlog = backlogGauges(context, {
    kind: 'delivery',
    prefix: 'pipecore_delivery',
    noun: 'Deliveries',
    seriesLabel: { name: 'endpoint', most: mostEndpointsShown },
  })
  return [backlog, healthGauges(context), recordedGauges]
}

function healthGauges({ database }: Context): GaugeSource {
  return {
    kept: true,
    gauges: [
      { name: 'pipecore_endpoints', description: 'Endpoints by the state of their health.' },
      {
        name: 'pipecore_endpoint_unwell',
        description: 'Endpoints that are not healthy and their state; those failing longest, up to a number.',
      },
    ],
    async read() {
      const [counts, unwell] = await Promise.all([
        countStates(database.system),
        listUnwell(database.system, mostEndpointsShown),
      ])
      const countOf = new Map(counts.map(({ state, endpoints }) => [state, endpoints]))
      const counted = states.map((state): Reading => ({
        gauge: 'pipecore_endpoints',
        labels: { state },
        value: countOf.get(state) ?? 0,
      }))
      const named = unwell.map(({ endpoint_id: endpoint, state }): Reading => ({
        gauge: 'pipecore_endpoint_unwell',
        labels: { endpoint, state },
        value: 1,
      }))
      return [...counted, ...named]
    },
  }
}
