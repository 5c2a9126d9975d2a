export interface TestAnswer<Body> {
  status: number
  headers: Headers
  body: Body
}

export interface TestApi {
  call<Body = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<TestAnswer<Body>>
  /** The same server with another key. */
  as(key: string): TestApi
}

/** A caller of our own API as a product's backend would be one. */
export function createTestApi(url: string, key: string): TestApi {
  return {
    as: (other) => createTestApi(url, other),
    call: async <Body>(
      method: string,
      path: string,
      body?: unknown,
      headers: Record<string, string> = {},
    ) => {
      const response = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${key}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      return {
        status: response.status,
        headers: response.headers,
        body: (text === '' ? undefined : JSON.parse(text)) as Body,
      }
    },
  }
}
