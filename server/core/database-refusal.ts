import { DatabaseError } from 'pg'

/** Of SQLSTATE: the session ended, perhaps behind a commit. */
const ends = /^(08|25P0[34]|57P|XX)/

/**
 * The server took a statement back: certainly nothing was committed. Any other error may have lost an answer only.
 * Told by the code: the severity is said in the server's language.
 */
export function isRefusal(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && error.code !== undefined && !ends.test(error.code)
}
