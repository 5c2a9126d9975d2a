import { after } from 'node:test'
import { createTestDatabase } from '#core/testing/database.ts'
import { testWorkLoop } from './testing/conformance.ts'
import { startLoop } from './testing/work.ts'

testWorkLoop(await createTestDatabase({ after }), { startLoop })
