import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { scopeFor } from '#tenants'
import { cancelPayment, capturePayment, refundPayment } from '../changes.ts'
import { createPayment } from '../payments.ts'
import { presentCheckout, presentPayment, presentRefund } from '../presentation.ts'
import {
  Capture,
  Checkout,
  IdempotencyHeaders,
  NewCheckout,
  NewPayment,
  NewRefund,
  Payment,
  Refund,
} from '../schema.ts'
import { scopeOfPayment } from '../scope-of-payment.ts'

const tags = ['Payments']
const idParams = z.object({ id: z.string() })

export function paymentRoutes(app: App, context: Context): void {
  // The documents' path, and the one REST expects.
  for (const [url, operationId] of [
    ['/payments/create', 'createPayment'],
    ['/payments', 'postPayment'],
  ] as const) {
    app.post(
      url,
      {
        config: { scope: 'payments:write' },
        schema: {
          operationId,
          tags,
          summary: 'Ask for money: with a saved method or token at once, else on a page of the provider',
          headers: IdempotencyHeaders,
          body: NewPayment,
          response: { 201: Payment },
        },
      },
      async (request, reply) => {
        const scope = await scopeFor(context, request.caller, request.body.tenant_id, request.traceId)
        const options = { idempotencyKey: request.headers['idempotency-key'] }
        const payment = await createPayment(context, scope, request.body, options)
        return reply.code(201).send(presentPayment(payment, context.now()))
      },
    )
  }
  app.post(
    '/payments/checkouts',
    {
      config: { scope: 'payments:write' },
      schema: {
        operationId: 'createCheckout',
        tags,
        summary: "Make a page of the provider's for a list of items",
        headers: IdempotencyHeaders,
        body: NewCheckout,
        response: { 201: Checkout },
      },
    },
    async (request, reply) => {
      const scope = await scopeFor(context, request.caller, request.body.tenant_id, request.traceId)
      const { items, amount } = request.body
      const total = amount ?? items.reduce((sum, item) => sum + item.quantity * item.unit_amount, 0)
      const input = { ...request.body, amount: total, installments: 1, checkout: true }
      const options = { idempotencyKey: request.headers['idempotency-key'] }
      return reply.code(201).send(presentCheckout(await createPayment(context, scope, input, options)))
    },
  )
  changeRoutes(app, context)
}

function changeRoutes(app: App, context: Context): void {
  app.post(
    '/payments/:id/capture',
    {
      config: { scope: 'payments:write' },
      schema: {
        operationId: 'capturePayment',
        tags,
        summary: 'Take held money, all of it or less',
        headers: IdempotencyHeaders,
        params: idParams,
        body: Capture,
        response: { 200: Payment },
      },
    },
    async (request) => {
      const { id } = request.params
      const scope = await scopeOfPayment(context, request.caller, id, request.traceId)
      const idempotencyKey = request.headers['idempotency-key']
      const asked = { amount: request.body?.amount, idempotencyKey }
      return presentPayment(await capturePayment(context, scope, id, asked), context.now())
    },
  )
  app.post(
    '/payments/:id/cancel',
    {
      config: { scope: 'payments:write' },
      schema: {
        operationId: 'cancelPayment',
        tags,
        summary: 'Let held money go, or close what waits for the customer',
        headers: IdempotencyHeaders,
        params: idParams,
        response: { 200: Payment },
      },
    },
    async (request) => {
      const { id } = request.params
      const scope = await scopeOfPayment(context, request.caller, id, request.traceId)
      const payment = await cancelPayment(context, scope, id, request.headers['idempotency-key'])
      return presentPayment(payment, context.now())
    },
  )
  app.post(
    '/payments/:id/refunds',
    {
      config: { scope: 'payments:write' },
      schema: {
        operationId: 'refundPayment',
        tags,
        summary: 'Give money back, all that is left or a part',
        headers: IdempotencyHeaders,
        params: idParams,
        body: NewRefund,
        response: { 201: Refund },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const scope = await scopeOfPayment(context, request.caller, id, request.traceId)
      const idempotencyKey = request.headers['idempotency-key']
      const { refund, payment } = await refundPayment(context, scope, id, { ...request.body, idempotencyKey })
      return reply.code(201).send(presentRefund(refund, payment.currency))
    },
  )
}
