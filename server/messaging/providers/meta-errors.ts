import { z } from 'zod'
import {
  createErrorTable,
  isUncertain,
  optional,
  optionalNumber,
  optionalObject,
  optionalText,
} from '#connections'
import { parseJson, readJson, refusedOutcome, unknownOutcome } from '#connections'
import type { ErrorRule, NotDone, ProviderAnswer, Told } from '#connections'

/** An error as Meta writes it in answers and, with a title, in webhooks. */
export const errorDetail = z.looseObject({
  code: optionalNumber,
  title: optionalText,
  message: optionalText,
  is_transient: optional(z.boolean()),
  error_data: optionalObject({ details: optionalText }),
})
export type ErrorDetail = z.output<typeof errorDetail>

const errorAnswer = z.looseObject({ error: errorDetail })

/** What an answer other than 2xx means for a send. */
export function classifyMetaAnswer(answer: ProviderAnswer): NotDone {
  const detail = readJson(errorAnswer)(answer)?.error
  const [rule, told] = judgeMetaError(detail)
  const isTaken = !neverProcessed.has(String(detail?.code))
  if (isUncertain(answer.status) && isTaken) return unknownOutcome(answer, told)
  const [kind, retry, failover] = rule
  const afterMs = kind === 'rate_limited' && retry === 'backoff' ? readUsageWaitMs(answer) : undefined
  if (afterMs !== undefined) return refusedOutcome(answer, [kind, { afterMs }, failover], told)
  return refusedOutcome(answer, detail ? rule : undefined, told)
}

/** By code, then `is_transient`. Meta asks to build on code and details; titles will go. */
export function judgeMetaError(detail: ErrorDetail | undefined): [ErrorRule, Told] {
  const code = detail?.code
  const message = [detail?.message ?? detail?.title, detail?.error_data?.details].filter(Boolean).join(': ')
  const fallback: ErrorRule = detail?.is_transient
    ? ['transient', 'backoff', true]
    : ['unknown', 'never', false]
  const isPermission = typeof code === 'number' && code >= 200 && code <= 299
  const rule = isPermission ? errors.get('10') : errors.get(String(code))
  return [rule ?? fallback, { code, message }]
}

/** `X-Business-Use-Case-Usage` names the minutes until calls are taken again. */
function readUsageWaitMs(answer: ProviderAnswer): number | undefined {
  const usage = z
    .record(z.string(), z.array(z.looseObject({ estimated_time_to_regain_access: optionalNumber })))
    .safeParse(parseJson(answer.headers['x-business-use-case-usage'] ?? ''))
  const minutes = Object.values(usage.data ?? {})
    .flat()
    .map((item) => item.estimated_time_to_regain_access ?? 0)
  const longest = Math.max(0, ...minutes)
  return longest > 0 ? longest * 60_000 : undefined
}

/** Codes by which Meta says that it did not take the message, even with a 5xx. */
const neverProcessed = new Set(['2', '4', '80007', '130429', '131056', '131057', '133004'])

const errors = createErrorTable([
  ['auth', 'never', false, [0, 190, 3, 10]],
  ['unknown', 'backoff', true, [1]],
  ['transient', 'backoff', true, [2, 131000, 131016, 131057, 133004]],
  ['rate_limited', 'backoff', true, [4, 80007, 130429]],
  ['rate_limited', { afterMs: 6_000 }, false, [131056]],
  ['rate_limited', { afterMs: 3_600_000 }, false, [132069]],
  ['account', 'never', false, [131048]],
  ['account', 'never', false, [131031, 368, 131037, 131042, 131045, 133010]],
  ['recipient', { afterMs: 86_400_000 }, false, [131049]],
  ['recipient', 'never', false, [130472, 131026, 131021, 130497]],
  ['opted_out', 'never', false, [131050]],
  ['window_closed', 'never', false, [131047]],
  ['config', 'never', false, [131030, 33]],
  ['content', 'backoff', false, [131052, 131053]],
  ['content', 'never', false, [131051, 131008, 131009, 100, 131062]],
  ['content', 'never', false, [132000, 132001, 132005, 132007, 132012, 132015, 132016, 132068]],
])
