import { randomBytes } from 'node:crypto'
import { loadConfig } from '#core/config.ts'
import { generateMasterKey } from '#core/sealing.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { findFreePort } from '../../sandbox/free-port.ts'
import { startSandbox, type Sandbox } from '../../sandbox/sandbox.ts'
import { providerIds } from '../modules.ts'
import { type Role, type RunningServer, startServer } from '../server.ts'
import { awaitFirstRuns } from './first-runs.ts'
import { createTestApi, type TestApi } from './api.ts'

export interface TestServer {
  server: RunningServer
  sandbox: Sandbox
  /** Calls the API with the admin key. */
  api: TestApi
  adminKey: string
  ownerUrl: string
}

interface Test {
  after(work: () => Promise<void>): void
}

export interface TestServerOptions {
  now?: () => Date
  role?: Role
  settings?: Record<string, string>
}

/** A whole PipeCore on a database of its own, calling a sandbox of its own; both end with the test. */
export async function startTestServer(test: Test, options: TestServerOptions = {}): Promise<TestServer> {
  const stops: Array<() => Promise<void>> = []
  test.after(async () => {
    for (const stop of stops.toReversed()) await stop()
  })
  const { ownerUrl } = await createTestDatabase({ after: (stop) => void stops.push(stop) })
  const sandbox = await startSandbox({ port: 0, callbackDelayMs: 5 })
  stops.push(() => sandbox.close())
  const adminKey = `admin_${randomBytes(16).toString('hex')}`
  const urls = Object.entries(sandbox.providerUrls).map(([id, url]) => [
    `PROVIDER_URL_${id.toUpperCase()}`,
    url,
  ])
  const port = await findFreePort()
  const config = loadConfig(
    {
      DATABASE_URL: ownerUrl,
      PIPECORE_HOST: '127.0.0.1',
      PORT: String(port),
      PIPECORE_ADMIN_KEY: adminKey,
      PIPECORE_MASTER_KEY: generateMasterKey(),
      PIPECORE_ALLOW_PRIVATE_ENDPOINTS: 'true',
      PIPECORE_LOG_LEVEL: 'error',
      PIPECORE_PROVIDER_TIMEOUT_MS: '1500',
      // A busy machine must not make a receiver that answers look like one that hangs: after five it is left alone.
      PIPECORE_ENDPOINT_TIMEOUT_MS: '10000',
      ...Object.fromEntries(urls),
      ...options.settings,
    },
    providerIds,
  )
  const server = await startServer(config, {
    ...(options.role !== undefined && { role: options.role }),
    ...(options.now !== undefined && { now: options.now }),
  })
  stops.push(() => server.stop())
  if (options.role !== 'api') await awaitFirstRuns(server.context)
  return { server, sandbox, api: createTestApi(server.url, adminKey), adminKey, ownerUrl }
}
