import { forgetMessages } from './retention.ts'
import { healMessage } from './heal-job.ts'
import { sendMessage } from './send-job.ts'
import { readReportsLater, readWebhook } from './webhook-job.ts'

export const jobs = [sendMessage, healMessage, readWebhook, readReportsLater, forgetMessages]
