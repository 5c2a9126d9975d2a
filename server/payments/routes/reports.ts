import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { pageOf } from '#core/pagination.ts'
import { scopeFor } from '#tenants'
import { getCheckout, getPayment, getPaymentLog, listPayments, listRefundsOf } from '../payment-reports.ts'
import {
  getReconciliation,
  getReconciliations,
  NewReconciliation,
  Reconciliation,
  ReconciliationQuery,
} from '../reconciliation-reports.ts'
import { startReconciliation } from '../reconciliation.ts'
import { Checkout, IdempotencyHeaders, LogEntry, LogQuery, Payment, PaymentQuery, Refund } from '../schema.ts'
import { Story } from '../schema.ts'
import { scopeOfPayment, scopeOfReconciliation } from '../scope-of-payment.ts'
import { getStats, Stats, StatsQuery } from '../stats.ts'
import { getStory } from '../story.ts'

const tags = ['Payments']
const tenantParams = z.object({ tenantId: z.string() })
const idParams = z.object({ id: z.string() })

export function reportRoutes(app: App, context: Context): void {
  paymentReports(app, context)
  tenantReports(app, context)
  reconciliationRoutes(app, context)
}

function paymentReports(app: App, context: Context): void {
  app.get(
    '/payments/:id',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'getPayment',
        tags,
        summary: 'Read a payment, with what can still be done with it and until when',
        params: idParams,
        response: { 200: Payment },
      },
    },
    async (request) => {
      const { id } = request.params
      const scope = await scopeOfPayment(context, request.caller, id, request.traceId)
      return getPayment(context, scope, id)
    },
  )
  app.get(
    '/payments/:id/refunds',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'listRefunds',
        tags,
        summary: 'List the refunds of a payment, those made at the provider too',
        params: idParams,
        response: { 200: pageOf(Refund) },
      },
    },
    async (request) => {
      const { id } = request.params
      const scope = await scopeOfPayment(context, request.caller, id, request.traceId)
      return listRefundsOf(context, scope, id)
    },
  )
  app.get(
    '/payments/:id/story',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'getPaymentStory',
        tags,
        summary: 'Read everything that happened to a payment, in order and in plain words',
        params: idParams,
        response: { 200: Story },
      },
    },
    async (request) => {
      const { id } = request.params
      const scope = await scopeOfPayment(context, request.caller, id, request.traceId)
      return getStory(context, scope, id)
    },
  )
  app.get(
    '/payments/checkouts/:id',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'getCheckout',
        tags,
        summary: 'Read a checkout',
        params: idParams,
        response: { 200: Checkout },
      },
    },
    async (request) => {
      const { id } = request.params
      const scope = await scopeOfPayment(context, request.caller, id, request.traceId)
      return getCheckout(context, scope, id)
    },
  )
}

function tenantReports(app: App, context: Context): void {
  app.get(
    '/payments',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'listPayments',
        tags,
        summary: "List a tenant's payments, newest first",
        querystring: PaymentQuery,
        response: { 200: pageOf(Payment) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.query.tenant_id, request.traceId)
      return listPayments(context, scope, request.query)
    },
  )
  app.get(
    '/payments/logs/:tenantId',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'listPaymentLog',
        tags,
        summary: 'List every call to a provider, webhook, return and decision, newest first',
        params: tenantParams,
        querystring: LogQuery,
        response: { 200: pageOf(LogEntry) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return getPaymentLog(context, scope, request.query)
    },
  )
  app.get(
    '/payments/stats/:tenantId',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'getPaymentStats',
        tags,
        summary: 'Counts, amounts, approval rates, decline reasons and latencies',
        params: tenantParams,
        querystring: StatsQuery,
        response: { 200: Stats },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return getStats(context, scope, request.query)
    },
  )
}

function reconciliationRoutes(app: App, context: Context): void {
  app.post(
    '/payments/reconciliations',
    {
      config: { scope: 'payments:write' },
      schema: {
        operationId: 'startReconciliation',
        tags,
        summary: "Compare a tenant's payments with its provider's and bring them in line",
        headers: IdempotencyHeaders,
        body: NewReconciliation,
        response: { 202: Reconciliation },
      },
    },
    async (request, reply) => {
      const { body, headers } = request
      const scope = await scopeFor(context, request.caller, body.tenant_id, request.traceId)
      return reply.code(202).send(await startReconciliation(context, scope, body, headers['idempotency-key']))
    },
  )
  app.get(
    '/payments/reconciliations',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'listReconciliations',
        tags,
        summary: "List a tenant's reconciliations, newest first",
        querystring: ReconciliationQuery,
        response: { 200: pageOf(Reconciliation) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.query.tenant_id, request.traceId)
      return getReconciliations(context, scope, request.query)
    },
  )
  app.get(
    '/payments/reconciliations/:id',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'getReconciliation',
        tags,
        summary: 'Read a reconciliation and the differences it found',
        params: idParams,
        response: { 200: Reconciliation },
      },
    },
    async (request) => {
      const { id } = request.params
      const scope = await scopeOfReconciliation(context, request.caller, id, request.traceId)
      return getReconciliation(context, scope, id)
    },
  )
}
