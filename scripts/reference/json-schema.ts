import { z } from 'zod'

/** The part of JSON Schema that Zod writes and our pages read. */
export interface JsonSchema {
  type?: string | string[]
  format?: string
  description?: string
  secret?: boolean
  default?: unknown
  enum?: unknown[]
  const?: unknown
  minimum?: number
  maximum?: number
  minLength?: number
  anyOf?: JsonSchema[]
  items?: JsonSchema
  properties?: Record<string, JsonSchema>
  required?: string[]
  additionalProperties?: JsonSchema | boolean
}

export function toJsonSchema(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  return z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as JsonSchema
}

/** A type in words: `string`, `whatsapp or sms`, `date-time or null`, `list of string`. */
export function describeType(schema: JsonSchema): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map(describeType).join(' or ')
  if (schema.enum !== undefined) return schema.enum.map(String).join(' or ')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  const types = [schema.type ?? 'any'].flat()
  return types.map((type) => describeSingle(type, schema)).join(' or ')
}

function describeSingle(type: string, schema: JsonSchema): string {
  if (type === 'array') return `list of ${describeType(schema.items ?? {})}`
  if (type === 'string' && schema.format === 'uri') return 'URL'
  if (type === 'string' && schema.format !== undefined) return schema.format
  if (type === 'object' && schema.properties !== undefined) {
    return `object (${Object.keys(schema.properties).join(', ')})`
  }
  return type
}
