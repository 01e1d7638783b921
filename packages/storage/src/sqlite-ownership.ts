import { closeSync, openSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { DbUnavailable } from './db.ts';

const WAIT_MS = 5_000;
const RETRY_MS = 50;

/** By path, without links in its folder. Referenced, because a connection that is collected lets go of its lock. */
const owned = new Map<string, Database.Database>();

/**
 * Makes this process the only one that may open the SQLite file `path`, until it ends, however it ends. Another one that
 * is just ending is waited for, `waitMs` at most. What is locked is an empty database beside the file, `<path>-lock`: to
 * lock the file itself would keep out this process's own second connection, and those who look at a running one.
 * @throws DbUnavailable if another process has it
 */
export async function ownSqliteFile(path: string, waitMs = WAIT_MS): Promise<void> {
  const file = join(realpathSync(dirname(path)), basename(path));
  if (owned.has(file)) return;
  const giveUpAt = performance.now() + waitMs;
  const database = openLock(`${file}-lock`);
  while (!isTaken(database)) {
    if (performance.now() >= giveUpAt) {
      database.close();
      throw new DbUnavailable(`The database ${path} is in use by another process: end that one first.`);
    }
    await sleep(RETRY_MS);
  }
  owned.set(file, database);
}

function openLock(path: string): Database.Database {
  closeSync(openSync(path, 'a', 0o600));
  return new Database(path, { timeout: 0 });
}

// The operating system holds the lock for the connection and drops it with the process, after kill -9 too.
function isTaken(database: Database.Database): boolean {
  try {
    database.exec('begin exclusive');
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error;
    return false;
  }
}
