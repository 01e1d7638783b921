import { closeSync, openSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { DbUnavailable } from './db.ts';

const WAIT_MS = 5_000;
const RETRY_MS = 50;

/**
 * By path, with the links of its folder resolved. Kept here because a garbage-collected connection releases its lock.
 */
const owned = new Map<string, Database.Database>();

/**
 * Makes this process the only one that may open the SQLite file `path`, until the process ends for any reason. Waits at
 * most `waitMs` for another owner that is about to end. The lock is on an empty database next to the file,
 * `<path>-lock`: a lock on the file itself would keep out the second connection of this process, and an operator who
 * looks into the database of a running service.
 * @throws DbUnavailable if another process owns the file
 */
export async function ownSqliteFile(path: string, waitMs = WAIT_MS): Promise<void> {
  const file = join(realpathSync(dirname(path)), basename(path));
  if (owned.has(file)) return;
  const giveUpAt = performance.now() + waitMs;
  const database = openLock(`${file}-lock`);
  while (!tryLock(database)) {
    if (performance.now() >= giveUpAt) {
      database.close();
      throw new DbUnavailable(`The database ${path} is in use by another process: stop that process first.`);
    }
    await sleep(RETRY_MS);
  }
  owned.set(file, database);
}

function openLock(path: string): Database.Database {
  closeSync(openSync(path, 'a', 0o600));
  return new Database(path, { timeout: 0 });
}

// The operating system releases the lock when the process ends, after kill -9 too.
function tryLock(database: Database.Database): boolean {
  try {
    database.exec('begin exclusive');
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error;
    return false;
  }
}
