/** The one door from tests of the server to the simulated providers. */
export { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts'
