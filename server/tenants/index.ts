import type { Module } from '#core/module.ts'
import { jobs } from './jobs.ts'
import { routes } from './routes.ts'

export {
  authenticate,
  type Caller,
  findProductsOf,
  findTenantScope,
  hasScope,
  recallCaller,
  requireAdmin,
  requireProduct,
  requireScope,
  scopeFor,
  scopesFor,
} from './caller.ts'
export { issueFirstAdminKey, issueKey } from './keys.ts'
export type { Scope } from './schema.ts'
export { openSecret, rotateDataKeys, type SecretCell, type SecretOwner, sealSecret } from './secrets.ts'
export { createProduct, createTenant } from './tenants.ts'

export const tenants: Module = {
  name: 'tenants',
  needs: [],
  migrations: new URL('./migrations/', import.meta.url),
  routes,
  jobs,
}
