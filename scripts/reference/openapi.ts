import { createApp } from '../../server/app.ts'
import { loadConfig } from '../../server/core/config.ts'
import type { Context } from '../../server/core/context.ts'
import { openDatabase } from '../../server/core/database.ts'
import { createLogger } from '../../server/core/logger.ts'
import { createMetrics } from '../../server/core/metrics/metrics.ts'
import { createOutbound } from '../../server/core/outbound.ts'
import { generateMasterKey, parseMasterKey } from '../../server/core/sealing.ts'
import { modules, providerIds } from '../../server/modules.ts'

// Nothing listens there: describing the routes asks no database.
const nowhere = 'postgres://nobody@127.0.0.1:1/none'

/** The OpenAPI document that the server gives at /openapi.json, in an order that does not depend on the code's. */
export async function writeOpenApi(): Promise<string> {
  const outbound = createOutbound({ allowPrivateAddresses: false })
  const database = openDatabase({
    urls: { app: nowhere, system: nowhere, upkeep: nowhere },
    onError: () => {},
  })
  const now = () => new Date(0)
  const log = createLogger('silent')
  const context: Context = {
    config: loadConfig({}, providerIds),
    database,
    providerOutbound: outbound,
    endpointOutbound: outbound,
    masterKeys: { current: parseMasterKey(generateMasterKey()) },
    now,
    log,
    metrics: createMetrics({ serviceName: 'pipecore', now, log }),
  }
  const app = await createApp(context, modules)
  try {
    const document = app.swagger()
    const { schemas } = ('components' in document && document.components) || {}
    const sorted = {
      ...document,
      paths: sortKeys(document.paths ?? {}),
      ...('components' in document && {
        components: { ...document.components, ...(schemas && { schemas: sortKeys(schemas) }) },
      }),
    }
    return `${JSON.stringify(sorted, undefined, 2)}\n`
  } finally {
    await app.close()
    await Promise.all([database.close(), outbound.close()])
  }
}

function sortKeys(object: object): object {
  return Object.fromEntries(Object.entries(object).toSorted(([left], [right]) => (left < right ? -1 : 1)))
}
