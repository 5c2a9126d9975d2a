import type { z } from 'zod'
import type { PaymentOperation } from './payment-faults.ts'
import type { Form } from './stripe-form.ts'
import { readParams } from './stripe-params.ts'
import type { Work } from './stripe-state.ts'

export type Route = {
  /** Which faults play on it. */
  operation: PaymentOperation
  run(work: Work, form: Form, id: string): object
}

/** By method and path below `/v1/`, ids as `:id`. */
export type Routes = Record<string, Route>

export function route<Schema extends z.ZodType>(
  operation: PaymentOperation,
  schema: Schema,
  run: (work: Work, params: z.infer<Schema>, id: string) => object,
): Route {
  return { operation, run: (work, form, id) => run(work, readParams(schema, form), id) }
}
