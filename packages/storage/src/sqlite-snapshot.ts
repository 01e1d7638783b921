import Database from 'better-sqlite3';

/** The pages that are copied in one step. */
const STEP_PAGES = 1_000;

/** A SQLite file as it was at one moment. */
export interface SqliteSnapshot {
  /** Copies it into a new file, in steps, and checks the copy. @throws Error if the copy is damaged */
  copyTo(path: string): Promise<void>;
  close(): void;
}

/**
 * Holds the state that a SQLite file in WAL mode has now, while another process writes to it. Writers go on, but the WAL
 * grows until `close`, because SQLite begins it anew only when nobody reads it.
 */
export function openSqliteSnapshot(path: string): SqliteSnapshot {
  const database = new Database(path, { readonly: true, fileMustExist: true });
  try {
    database.exec('pragma trusted_schema = off; begin');
    // The transaction sees the state of its first read. SQLite's backup copies what the transaction sees.
    database.prepare('select count(*) from sqlite_schema').get();
  } catch (error) {
    database.close();
    throw error;
  }
  return {
    async copyTo(target) {
      await database.backup(target, { progress: () => STEP_PAGES });
      check(target);
    },
    close: () => void database.close(),
  };
}

function check(path: string): void {
  const copy = new Database(path, { fileMustExist: true });
  try {
    const found = copy.pragma('quick_check(1)', { simple: true });
    if (found !== 'ok') throw new Error(`the copy ${path} is damaged: ${String(found)}`);
  } finally {
    copy.close();
  }
}
