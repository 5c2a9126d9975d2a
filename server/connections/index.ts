import type { Module } from '#core/module.ts'
import { jobs } from './jobs.ts'

export { recordAnswers, type RecordedAnswer } from './answer-recorder.ts'
export {
  changeConnection,
  checkConnection,
  type ConnectionView,
  deleteConnection,
  getConnections,
  openConnection,
  type OpenConnection,
  openConnectionsOfProvider,
  openRow,
  providerContext,
  recallConnectionsOfProvider,
  saveConnection,
} from './connections.ts'
export { choiceField, countField, ruleAcross, secretField, switchField } from './credentials.ts'
export { type Form, writeForm } from './form-body.ts'
export {
  type AnswerSchema,
  callProvider,
  isUncertain,
  mapped,
  parseJson,
  type ProviderAnswer,
  readJson,
} from './provider-call.ts'
export { createErrorTable, describeError, type ErrorRule, type Told } from './provider-call.ts'
export { lookAgain, mapDone, mismatch, type NotDone, refuse, refusedOutcome } from './provider-call.ts'
export { refuseUnlessDone, thenDone, unknownOutcome } from './provider-call.ts'
export { equalText, readEach, readWebhookForm, readWebhookJson } from './raw-webhook.ts'
export { readSignaturePairs, verifyAge, verifySignature } from './raw-webhook.ts'
export { openRoute, recallRoute, type RecentRoute, routeConnection } from './routes.ts'
export { anything, fieldsOf, figure, idText } from './vendor-fields.ts'
export { optionalFigure, optionalId, optionalTime } from './vendor-fields.ts'
export { optional, optionalNumber, optionalObject, optionalText } from './vendor-fields.ts'
export type {
  CheckResult,
  ErrorKind,
  HttpAnswer,
  Outcome,
  Provider,
  ProviderContext,
  ProviderError,
  RawWebhook,
  Verification,
} from './provider.ts'

export const connections: Module = {
  name: 'connections',
  needs: ['tenants'],
  migrations: new URL('./migrations/', import.meta.url),
  jobs,
}
