// The names of the locks of transactions: see `Locks`.

/**
 * The vault. A change in it shares the lock. What touches the vault as a whole holds it alone: a new DEK, its deletion, a
 * change of many secrets.
 */
export function vaultLock(vaultId: string): string {
  return `vault ${vaultId}`;
}

/**
 * A user or an application, by its principal (`user:<id>`). Their changes share it. What takes rights away, or changes
 * what a user signs in with, holds it alone: from then on, no change that began before it commits. A function of a store
 * that writes such a thing takes the lock itself, and a change of the caller's own account begins with it
 * (`account: 'alone'`): two changes that share it and then want it alone would wait for each other. A job that removes
 * what has expired does not take it, because the time has taken the right away, and each decision asks the time.
 */
export function principalLock(principal: string): string {
  return principal;
}

/** How many secrets a vault holds: for a change that adds one when few more may be added. */
export function sizeLock(vaultId: string): string {
  return `size ${vaultId}`;
}

/** Where references point. A writer of a reference holds it alone: of two at once, each could close a circle unseen. */
export const REFERENCES_LOCK = 'references';
