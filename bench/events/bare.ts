/** What PipeCore is compared with: a handler that does one INSERT per request. `node bench/events/bare.ts <port>` */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import pg from 'pg'

const pool = new pg.Pool({
  connectionString: process.env['DATABASE_URL'] ?? '',
  max: Number(process.env['BARE_CONNECTIONS'] ?? 10),
})
await pool.query(`create table if not exists bare_events (
  id text primary key, tenant_id text not null, type text not null, body text not null, occurred_at timestamptz not null)`)

const insert =
  'insert into bare_events (id, tenant_id, type, body, occurred_at) values ($1, $2, $3, $4, now())'

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    if (request.method !== 'POST') return response.writeHead(200).end()
    const { tenant_id, type, data } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as {
      tenant_id: string
      type: string
      data: object
    }
    const id = randomUUID()
    pool.query(insert, [id, tenant_id, type, JSON.stringify({ id, ...data })]).then(
      () => response.writeHead(202, { 'content-type': 'application/json' }).end(JSON.stringify({ id })),
      () => response.writeHead(500).end(),
    )
    return undefined
  })
})
server.listen(Number(process.argv[2]), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
