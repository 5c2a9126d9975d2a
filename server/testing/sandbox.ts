/** The one door from tests of the server to what stands beside it: the simulated providers above all. */
export { findFreePort } from '../../sandbox/free-port.ts'
export { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts'
