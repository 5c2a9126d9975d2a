/** One way to deliver a backlog of signed events. */
export interface Side {
  name: string
  /** The process that delivers. */
  processId: number
  /** Takes this many new events of the tenants in turn, delivering none. */
  fill(count: number, tenants: number): Promise<void>
  /** Begins to deliver what was taken. */
  open(): Promise<void>
  /** Resolves once all of it is at its end in the database too. */
  settle(): Promise<void>
}

export type ChildSide = 'bare loop' | 'graphile-worker' | 'pg-boss'

/** As many calls at once as PipeCore's dispatcher has slots. */
export const slots = 64

export interface SideSettings {
  databaseUrl: string
  receiverUrl: string
  secret: string
}

/** What a process that delivers is told to do next. */
export type Order = { order: 'fill'; count: number; tenants: number } | { order: 'open' | 'settle' }
export type Done = { done: true } | { error: string }

/** What a rival does with the orders. */
export interface Rival {
  fill(count: number, tenants: number): Promise<void>
  open(): Promise<void>
  settle(): Promise<void>
}
