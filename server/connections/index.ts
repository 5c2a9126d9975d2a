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
  routeConnection,
  saveConnection,
} from './connections.ts'
export { choiceField, countField, ruleAcross, secretField, switchField } from './credentials.ts'
export { type Form, writeForm } from './form-body.ts'
export {
  callProvider,
  createErrorTable,
  describeError,
  type ErrorRule,
  isUncertain,
  mapDone,
  mismatch,
  type NotDone,
  parseJson,
  type ProviderAnswer,
  readJson,
  refuse,
  refusedOutcome,
  thenDone,
  type Told,
  unknownOutcome,
} from './provider-call.ts'
export { equalText, readEach, readWebhookForm, readWebhookJson } from './raw-webhook.ts'
export { readSignaturePairs, verifyAge, verifySignature } from './raw-webhook.ts'
export { anything, fieldsOf, figure, optionalFigure } from './vendor-fields.ts'
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
