/** What the products' backend has heard of each payment, as its events arrive. */
export interface News {
  hear(text: string): void
  /** Resolves with the first of these types that was heard of the payment; undefined when it took too long. */
  waitFor(paymentId: string, types: readonly string[], patienceMs: number): Promise<string | undefined>
}

export function createNews(): News {
  const heard = new Map<string, Set<string>>()
  const waiting = new Map<string, Set<() => void>>()
  return {
    hear: (text) => {
      const { event, payment_id: id } = JSON.parse(text) as { event: string; payment_id?: string }
      if (id === undefined) return
      heard.set(id, (heard.get(id) ?? new Set()).add(event))
      for (const wake of waiting.get(id) ?? []) wake()
    },
    waitFor: (id, types, patienceMs) => {
      const find = () => types.find((type) => heard.get(id)?.has(type))
      return new Promise((resolve) => {
        const wakes = waiting.get(id) ?? new Set()
        waiting.set(id, wakes)
        const wake = (isLate: boolean) => {
          const found = find()
          if (found === undefined && !isLate) return
          clearTimeout(timer)
          wakes.delete(listen)
          resolve(found)
        }
        const listen = () => wake(false)
        const timer = setTimeout(() => wake(true), patienceMs).unref()
        wakes.add(listen)
        wake(false)
      })
    },
  }
}
