import { healMessage } from './heal-job.ts'
import { sendMessage } from './send-job.ts'
import { readReportLater, readWebhook } from './webhook-job.ts'

export const jobs = [sendMessage, healMessage, readWebhook, readReportLater]
