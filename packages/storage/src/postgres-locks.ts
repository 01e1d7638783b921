import { createHash } from 'node:crypto';
import type { Locks } from './db.ts';

/** A lock that a transaction wants. */
export interface WantedLock {
  key: bigint;
  isShared: boolean;
}

/** Takes the lock with the key `$1` alone, until the end of the transaction. */
export const LOCK = 'select pg_advisory_xact_lock($1)';

/**
 * The statement that takes these locks, after a `begin`. PostgreSQL's advisory locks are in memory and fair; `for share`
 * of a row would write, and a stream of sharers would keep out who wants the row alone.
 */
export function sqlOfLocks(locks: WantedLock[]): string {
  if (locks.length === 0) return '';
  // One statement, whose columns are computed in order.
  return `; select ${locks.map(({ key, isShared }) => `pg_advisory_xact_lock${isShared ? '_shared' : ''}(${key})`).join(', ')}`;
}

/**
 * The statement that takes these locks for the connection, until `UNLOCK`. A serializable transaction sees the rows as
 * they were at its first statement, also if that statement waits for a lock, so it cannot take them itself.
 */
export function sqlOfHeldLocks(locks: WantedLock[]): string {
  return locks.map(({ key, isShared }) => `select pg_advisory_lock${isShared ? '_shared' : ''}(${key})`).join('; ');
}

/** Gives back what `sqlOfHeldLocks` took. */
export const UNLOCK = 'select pg_advisory_unlock_all()';

/** Each lock once. All transactions take theirs in this order, so two of them do not wait for each other. */
export function inOrder({ shared = [], exclusive = [] }: Locks): WantedLock[] {
  const keys = new Map(shared.map((name) => [lockKey(name), true]));
  for (const name of exclusive) keys.set(lockKey(name), false);
  const locks = [...keys].map(([key, isShared]) => ({ key, isShared }));
  return locks.toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

/** The key of a lock: 64 bits of a hash of its name. Two names with one key would wait for each other, no more. */
export function lockKey(name: string): bigint {
  return createHash('sha256').update(name).digest().readBigInt64BE();
}
