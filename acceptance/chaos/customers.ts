import type { Sandbox } from '../harness.ts'
import { pause, within } from './calls.ts'
import type { ProviderId, Visit } from './plan.ts'

export interface NextAction {
  url: string
  fields: Record<string, string>
}

export interface BrowserStep {
  method: 'GET' | 'POST'
  url: string
  fields: Record<string, string>
}

/** A customer acts on the provider's page; the browser comes back to PipeCore, or does not. */
export async function visitPage(
  sandbox: Sandbox,
  provider: ProviderId,
  action: NextAction,
  { choice, comes }: Visit,
): Promise<void> {
  const { next } = await sandbox.control<{ next: BrowserStep | null }>('POST', '/pay', {
    provider,
    id: pageIdOf(action),
    choice,
  })
  if (next === null || comes === 'never') return
  await Promise.all([browse(next), comes === 'twice' && browse(next)])
}

/** The page's own id, which stands in its form or ends its address. */
function pageIdOf({ url, fields }: NextAction): string {
  const [field] = Object.values(fields)
  if (field !== undefined) return field
  const { searchParams, pathname } = new URL(url)
  return [...searchParams.values()].at(-1) ?? pathname.split('/').at(-1) ?? ''
}

const answerDeadlineMs = 15_000
const mostTries = 40
const pauseMs = 500

/** A page that does not load is loaded again. */
export async function browse(step: BrowserStep): Promise<void> {
  for (let tries = 1; tries <= mostTries; tries += 1) {
    const answer = await within(load(step), answerDeadlineMs)
    if (answer !== undefined && answer.status < 500) return
    await pause(pauseMs)
  }
}

async function load({ method, url, fields }: BrowserStep): Promise<Response> {
  const form = new URLSearchParams(fields)
  const target = new URL(url)
  if (method === 'GET') for (const [name, value] of form) target.searchParams.append(name, value)
  const answer = await fetch(target, {
    method,
    redirect: 'manual',
    ...(method === 'POST' && { body: form }),
  })
  await answer.arrayBuffer()
  return answer
}
