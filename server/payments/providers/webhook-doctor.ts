export interface Endpoint {
  id: string
  url: string
  isDisabled: boolean
  topics: readonly string[]
}

/** What a person has to do so that a provider reports to us all that we read; nothing where it does. */
export function adviseOnEndpoint(
  title: string,
  webhookUrl: string,
  endpoints: readonly Endpoint[],
  wanted: readonly string[],
): string[] {
  const endpoint = endpoints.find(({ url }) => url === webhookUrl)
  if (!endpoint)
    return [`No webhook of ${title} reports to ${webhookUrl}: add one with ${wanted.join(', ')}.`]
  const { id, isDisabled, topics } = endpoint
  if (isDisabled) return [`The webhook ${id} is disabled: enable it at ${title}.`]
  const missing = topics.includes('*') ? [] : wanted.filter((topic) => !topics.includes(topic))
  return missing.length > 0 ? [`The webhook ${id} does not report ${missing.join(', ')}: add them.`] : []
}
