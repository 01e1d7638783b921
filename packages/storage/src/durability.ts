import type { Db } from './db.ts';

export interface DurabilityOptions {
  /** For tests only: their server runs without fsync to be fast. */
  allowFsyncOff?: boolean;
}

/**
 * Resolves if committed data survives a power cut. PostgreSQL needs synchronous_commit, fsync and full_page_writes.
 * SQLite needs a WAL: `openSqlite` syncs it after commits, and SQLite syncs it around checkpoints. A service calls this
 * before it takes its first request.
 * @throws Error that names the setting
 */
export async function checkDurability(db: Db, options: DurabilityOptions = {}): Promise<void> {
  if (db.engine === 'sqlite') return await checkSqlite(db);
  // remote_apply waits for a standby as well; local and remote_write wait for less.
  await demand(db, 'show synchronous_commit', ['on', 'remote_apply']);
  await demand(db, 'show full_page_writes', ['on']);
  if (!options.allowFsyncOff) await demand(db, 'show fsync', ['on']);
}

// `synchronous` is a setting of a connection, and a transaction runs on the connection that writes.
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
    throw new Error(`the database can lose commits: ${sql} is ${value}, it must be ${accepted[0]}`);
  }
}
