import type { Kysely } from 'kysely'
import { type FieldError, invalidRequest } from '#core/errors.ts'
import type { EventType } from '#core/module.ts'
import type { OutboundTables } from '../tables.ts'
import { lockVersions } from './queries.ts'
import { mostPins, type PinChange, type Pins } from './schema.ts'
import { versionsOf } from './shape.ts'

/**
 * Only what its product supports may be pinned, and stays so until the transaction ends. Before endpoints are locked:
 * whoever withdraws a version locks in this order too.
 * @throws PipeError `request_invalid`
 */
export async function requirePinnable(
  db: Kysely<OutboundTables>,
  productId: string,
  change: PinChange,
  types: readonly EventType[],
): Promise<void> {
  const pins = Object.entries(change).filter((pin): pin is [string, number] => pin[1] !== null)
  if (pins.length === 0) return
  const ofProduct = await lockVersions(db, productId, pins)
  const errors = pins.flatMap(([name, version]): FieldError[] => {
    const ours = types.find((type) => type.name === name)
    const found = ofProduct.find((row) => row.name === name && row.version === version)
    const supported = ours === undefined ? found?.supported : versionsOf(ours).includes(version)
    if (supported === true) return []
    const isKnown = found !== undefined
    return [{ field: `versions.${name}`, message: isKnown ? unsupported : noVersion(name, version) }]
  })
  if (errors.length > 0) throw invalidRequest('A version can not be pinned; see errors.', errors)
}

const unsupported = 'is a version that its product does not support: it may end with the next one'

function noVersion(name: string, version: number): string {
  return `${version} is no version in the catalogue; see GET /webhooks/catalog/${name}`
}

export function changePins(pins: Pins, change: PinChange): Pins {
  const changed = Object.entries({ ...pins, ...change }).filter(
    (pin): pin is [string, number] => pin[1] !== null,
  )
  if (changed.length <= mostPins) return Object.fromEntries(changed)
  throw invalidRequest(`An endpoint pins at most ${mostPins} types.`, [
    { field: 'versions', message: `would name ${changed.length} types` },
  ])
}
