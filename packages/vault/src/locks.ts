// The names of the locks of transactions: see `Locks`.

/**
 * The vault. A change in it shares the lock. What touches the vault as a whole holds it alone: a new DEK, its deletion, a
 * change of many secrets.
 */
export function vaultLock(vaultId: string): string {
  return `vault ${vaultId}`;
}

/**
 * A user or an application, by its principal (`user:<id>`). Their changes share it. What takes rights away holds it
 * alone: from then on, no change that began before it commits.
 */
export function principalLock(principal: string): string {
  return principal;
}

/** Where references point. A writer of a reference holds it alone: of two at once, each could close a circle unseen. */
export const REFERENCES_LOCK = 'references';
