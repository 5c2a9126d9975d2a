import { z } from 'zod'
import { type FieldError, invalidRequest } from '#core/errors.ts'
import { maskSecret } from '#core/sealing.ts'
import type { Provider } from './provider.ts'

/** A credential that is sealed at rest and only ever shown masked. */
export function secretField(description: string): z.ZodString {
  return z.string().min(1).meta({ description, secret: true })
}

export function countField(description: string, most: number, usual: number) {
  return z.number().int().min(1).max(most).default(usual).meta({ description })
}

export function switchField(description: string) {
  return z.boolean().default(false).meta({ description })
}

/** One of these; the first, if nothing is given. */
export function choiceField<const Choice extends string | number>(
  description: string,
  choices: readonly [usual: Choice, ...others: Choice[]],
) {
  return z.literal(choices).default(choices[0]).meta({ description })
}

/** A rule across fields: it speaks although a single field is wrong, so that all faults come at once. */
export function ruleAcross(field: string, error: string) {
  const when = ({ value }: { value: unknown }) => typeof value === 'object' && value !== null
  return { path: [field], error, when }
}

/** @throws PipeError `request_invalid` naming every fault of the credentials as `credentials.<field>`. */
export function parseCredentials<Credentials>(provider: Provider<Credentials>, given: unknown): Credentials {
  const parsed = provider.credentials.safeParse(given)
  if (parsed.success) return parsed.data
  const errors = parsed.error.issues.flatMap((issue): FieldError[] => {
    const names = issue.code === 'unrecognized_keys' ? issue.keys : [issue.path.join('.')]
    const message =
      issue.code === 'unrecognized_keys' ? `is no credential of ${provider.title}` : issue.message
    return names.map((name) => ({ field: name === '' ? 'credentials' : `credentials.${name}`, message }))
  })
  throw invalidRequest(`These are not ${provider.title} credentials; see errors.`, errors)
}

interface CredentialField {
  description?: string
  secret?: boolean
}

/** The fields of a provider's credentials as data: what masks them and draws forms. */
export function credentialFields<Credentials>(
  provider: Provider<Credentials>,
): Record<string, CredentialField> {
  const known = knownFields.get(provider.credentials)
  if (known !== undefined) return known
  const schema = z.toJSONSchema(provider.credentials, { io: 'input', unrepresentable: 'any' })
  const fields = (schema.properties ?? {}) as Record<string, CredentialField>
  knownFields.set(provider.credentials, fields)
  return fields
}

/** Reading a schema takes a millisecond, and every call to a provider asks which fields are secret. */
const knownFields = new WeakMap<z.ZodType, Record<string, CredentialField>>()

export function maskCredentials(provider: Provider<unknown>, credentials: object): Record<string, unknown> {
  const fields = credentialFields(provider)
  return Object.fromEntries(
    Object.entries(credentials).map(([name, value]) => [
      name,
      fields[name]?.secret === true ? maskValue(value) : value,
    ]),
  )
}

function maskValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(maskValue)
  return typeof value === 'string' ? maskSecret(value) : maskSecret('')
}
