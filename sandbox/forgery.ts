import type { CallbackInput } from './callbacks.ts'

export const damages = ['signature', 'tampered', 'unsigned', 'stale'] as const
type Damage = { kind: (typeof damages)[number]; ageSeconds: number }

/** The same callback as an attacker would send it: once, damaged in one way. */
export function damageCallback(input: CallbackInput, damage: Damage): CallbackInput {
  return {
    ...input,
    forged: true,
    build(at) {
      const signedAt = damage.kind === 'stale' ? new Date(at.getTime() - damage.ageSeconds * 1_000) : at
      const built = input.build(signedAt)
      if (damage.kind === 'tampered') return { ...built, body: tamper(built.body) }
      if (damage.kind === 'stale') return built
      const headers: Record<string, string> = {}
      for (const [name, value] of Object.entries(built.headers)) {
        if (!name.includes('signature')) headers[name] = value
        else if (damage.kind === 'signature') headers[name] = flip(value)
      }
      return { ...built, headers }
    },
  }
}

/** Another character in the middle: still well-formed hex or base64, never right. */
function flip(signature: string): string {
  const middle = Math.floor(signature.length * 0.6)
  return `${signature.slice(0, middle)}${signature[middle] === 'a' ? 'b' : 'a'}${signature.slice(middle + 1)}`
}

/** The last letter or digit of the body becomes another one. */
function tamper(body: string | Buffer): string {
  return body.toString().replace(/[a-z0-9](?=[^a-z0-9]*$)/i, (letter) => (letter === '1' ? '2' : '1'))
}
