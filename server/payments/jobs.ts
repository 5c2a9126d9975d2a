import { checkPayment, checkSubscription, endAbandoned, sweep } from './janitor.ts'
import { reconcile, reconcileDaily } from './reconciliation.ts'
import { forgetPaymentLog } from './retention.ts'
import { readWebhook, readWebhookLater } from './webhook-job.ts'

export const jobs = [
  readWebhook,
  readWebhookLater,
  sweep,
  endAbandoned,
  checkPayment,
  checkSubscription,
  reconcile,
  reconcileDaily,
  forgetPaymentLog,
]
