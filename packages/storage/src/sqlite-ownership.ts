import { closeSync, openSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { DbRefused } from './db.ts';

const WAIT_MS = 5_000;
const RETRY_MS = 50;

interface Owned {
  /** Kept here because a garbage-collected connection releases its lock. */
  lock: Database.Database;
  holders: number;
}

/** By path, with the links of its folder resolved. */
const owned = new Map<string, Owned>();

/**
 * Makes this process the only one that may open the SQLite file `path`, until each caller has released it or the process
 * ends for any reason. Waits at most `waitMs` for another owner that is about to end. The lock is on an empty database
 * next to the file, `<path>-lock`: a lock on the file itself would keep out the second connection of this process, and an
 * operator who looks into the database of a running service.
 * @returns a function that releases the file, to be called after the file is closed
 * @throws DbRefused if another process owns the file
 */
export async function ownSqliteFile(path: string, waitMs = WAIT_MS): Promise<() => void> {
  const file = join(realpathSync(dirname(path)), basename(path));
  if (!owned.has(file)) {
    const lock = await takeLock(`${file}-lock`, waitMs);
    if (!lock) throw new DbRefused(`The database ${path} is in use by another process: stop that process first.`);
    owned.set(file, { lock, holders: 0 });
  }
  const own = owned.get(file)!;
  own.holders += 1;
  return onceOnly(() => release(file, own));
}

async function takeLock(path: string, waitMs: number): Promise<Database.Database | undefined> {
  const giveUpAt = performance.now() + waitMs;
  const lock = openLock(path);
  while (!tryLock(lock)) {
    if (performance.now() >= giveUpAt) {
      lock.close();
      return undefined;
    }
    await sleep(RETRY_MS);
  }
  return lock;
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

function release(file: string, own: Owned): void {
  own.holders -= 1;
  if (own.holders > 0) return;
  owned.delete(file);
  own.lock.close();
}

function onceOnly(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}
