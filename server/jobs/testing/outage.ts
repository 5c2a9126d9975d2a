import { type Database, type DatabaseUrls, openDatabase } from '#core/database.ts'
import type { Test } from './work.ts'

/** A process's own way to the database. */
export interface Way {
  database: Database
  /** No statement arrives. */
  isAway: boolean
  /** Statements that were to end work while it was away. */
  lostEnds: number
}

export function openWay(test: Test, urls: DatabaseUrls): Way {
  const own = openDatabase({ urls, onError: () => {} })
  test.after(() => own.close())
  const system = own.system.withPlugin({
    transformQuery: ({ node }) => {
      if (!way.isAway) return node
      if (JSON.stringify(node).includes('finish_work(')) way.lostEnds += 1
      throw new Error('Connection terminated unexpectedly')
    },
    transformResult: async ({ result }) => result,
  })
  const way: Way = { database: { ...own, system }, isAway: false, lostEnds: 0 }
  return way
}
