import { createHash } from 'node:crypto'

/** Accounts of a provider whose only credential is an API key: found by name or by key. */
export type KeyAccounts<Account extends { name: string; token: string }> = {
  byName: Map<string, Account>
  byToken: Map<string, Account>
}

export function createKeyAccounts<Account extends { name: string; token: string }>(): KeyAccounts<Account> {
  return { byName: new Map(), byToken: new Map() }
}

/** The account of a name or of a key itself. */
export function findKeyAccount<Account extends { name: string; token: string }>(
  accounts: KeyAccounts<Account>,
  nameOrToken: string,
): Account | undefined {
  return accounts.byName.get(nameOrToken) ?? accounts.byToken.get(nameOrToken)
}

export function addKeyAccount<Account extends { name: string; token: string }>(
  accounts: KeyAccounts<Account>,
  account: Account,
): Account {
  accounts.byName.set(account.name, account)
  accounts.byToken.set(account.token, account)
  return account
}

/** Gives an account another key; the old one stops working. */
export function changeToken<Account extends { name: string; token: string }>(
  accounts: KeyAccounts<Account>,
  account: Account,
  token: string,
): void {
  accounts.byToken.delete(account.token)
  account.token = token
  accounts.byToken.set(token, account)
}

/** Names an account by its key without showing the key. */
export function nameByToken(token: string): string {
  return `${token.slice(0, 14)}…${createHash('sha256').update(token).digest('hex').slice(0, 4)}`
}

export function clearKeyAccounts<Account extends { name: string; token: string }>(
  accounts: KeyAccounts<Account>,
): void {
  accounts.byName.clear()
  accounts.byToken.clear()
}
