import { checkPayment, checkSubscription, endAbandoned, endMethod, sweep } from './janitor.ts'
import { finishMethod } from './methods/finishing.ts'
import { reconcile, reconcileDaily } from './reconciliation.ts'
import { forgetPaymentLog } from './retention.ts'
import { readWebhook, readWebhookLater } from './webhook-job.ts'

export const jobs = [
  readWebhook,
  readWebhookLater,
  sweep,
  endAbandoned,
  endMethod,
  finishMethod,
  checkPayment,
  checkSubscription,
  reconcile,
  reconcileDaily,
  forgetPaymentLog,
]
