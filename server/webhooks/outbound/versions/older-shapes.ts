import type { Context } from '#core/context.ts'
import type { FieldError } from '#core/errors.ts'
import { type CheckedType, findCheckedType } from '../checked-types.ts'
import { checkData, type CheckBudget } from '../json-schema.ts'
import type { OwnEvent } from '../schema.ts'

export interface Given {
  /** In front of its fields: `events.3.`, or nothing. */
  prefix: string
  event: OwnEvent
}

/**
 * What is wrong with the older shapes of an event, and which are missing. That goes by the catalogue alone: whether
 * somebody pins a version has no say, so no tenant's choice makes its product's publishing fail.
 */
export async function findOlderFaults(
  context: Context,
  productId: string,
  { prefix, event }: Given,
  type: CheckedType,
  budget: CheckBudget,
): Promise<FieldError[]> {
  const older = event.older ?? {}
  const faults: FieldError[] = type.supported
    .filter((version) => version < type.version && !Object.hasOwn(older, version))
    .map((version) => ({ field: `${prefix}older.${version}`, message: missing(event.type, version) }))
  for (const [key, data] of Object.entries(older)) {
    const field = `${prefix}older.${key}`
    const version = Number(key)
    if (version >= type.version) {
      faults.push({ field, message: `is not older than version ${type.version}, which is published` })
      continue
    }
    const known = type.versions.includes(version)
      ? await findCheckedType(context, productId, event.type, version)
      : undefined
    if (known === undefined) {
      faults.push({ field, message: `is no version of ${event.type} in the catalogue` })
    } else faults.push(...checkData(known.schema, data, field, budget))
  }
  return faults
}

function missing(type: string, version: number): string {
  return `is missing: version ${version} of ${type} is supported, so endpoints may pin it; give its shape, or withdraw it with PUT /webhooks/catalog/${type}, "supported": false`
}
