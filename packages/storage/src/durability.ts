import type { Db } from './db.ts';

export interface DurabilityOptions {
  /** For tests, whose server does without fsync to be fast. */
  allowFsyncOff?: boolean;
}

/**
 * Resolves if what is committed survives a power cut: PostgreSQL has synchronous_commit, fsync and full_page_writes,
 * SQLite has a WAL, which `openSqlite` syncs after commits and SQLite around checkpoints. A service asks before it takes
 * its first request.
 * @throws Error that names the setting
 */
export async function checkDurability(db: Db, options: DurabilityOptions = {}): Promise<void> {
  if (db.engine === 'sqlite') return await checkSqlite(db);
  // remote_apply waits for a standby as well; local and remote_write wait for less.
  await demand(db, 'show synchronous_commit', ['on', 'remote_apply']);
  await demand(db, 'show full_page_writes', ['on']);
  if (!options.allowFsyncOff) await demand(db, 'show fsync', ['on']);
}

// `synchronous` belongs to a connection, and a transaction runs on the one that writes.
async function checkSqlite(db: Db): Promise<void> {
  await db.transaction(async (tx) => {
    await demand(tx, 'pragma journal_mode', ['wal']);
    await demand(tx, 'pragma synchronous', [1, 2, 3]);
  });
}

async function demand(db: Pick<Db, 'query'>, sql: string, accepted: (string | number)[]): Promise<void> {
  const [row] = await db.query<Record<string, string | number>>(sql);
  const value = Object.values(row ?? {})[0];
  if (value === undefined || !accepted.includes(value)) {
    throw new Error(`the database would lose commits: ${sql} is ${value}, not ${accepted[0]}`);
  }
}
