import { close, closeSync, fdatasync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { CommitError } from './db.ts';

/** Resolves once everything written to the file is on disk. */
export type SyncFile = (fd: number) => Promise<void>;

const syncFile: SyncFile = promisify(fdatasync);

/**
 * Makes SQLite's commits durable without blocking the event loop. With synchronous=NORMAL a commit in WAL mode writes
 * to the WAL and returns; SQLite itself syncs only around a checkpoint (sqlite.org/wal.html section 2.3).
 * synchronous=FULL would sync inside every commit. This class syncs on a thread of libuv instead, one sync at a time,
 * and each sync covers every commit made before it began.
 */
export class WalSync {
  readonly #path: string;
  readonly #sync: SyncFile;
  #fd: number | undefined;
  #underWay: Promise<void> | undefined;
  /** Covers the commits made since the sync under way began. */
  #following: Promise<void> | undefined;

  constructor(databasePath: string, sync: SyncFile = syncFile) {
    this.#path = `${databasePath}-wal`;
    this.#sync = sync;
  }

  /**
   * Must be called right after a commit. Resolves once the commit is on disk.
   * @throws CommitError if the commit may not be on disk, and for every later commit too: the operating system drops
   * pages that it could not write, so a later sync proves nothing about them
   */
  committed(): Promise<void> {
    if (this.#following) return this.#following;
    if (!this.#underWay) return this.#begin();
    this.#following = this.#underWay.then(() => {
      this.#following = undefined;
      return this.#begin();
    });
    return this.#following;
  }

  /**
   * Resolves once every commit until now is on disk. Undefined if all are already. @throws CommitError as `committed`
   */
  pending(): Promise<void> | undefined {
    return this.#following ?? this.#underWay;
  }

  async close(): Promise<void> {
    await this.pending()?.catch(() => undefined);
    if (this.#fd !== undefined) await promisify(close)(this.#fd);
    this.#fd = undefined;
  }

  #begin(): Promise<void> {
    const sync = this.#run();
    this.#underWay = sync;
    return sync;
  }

  async #run(): Promise<void> {
    try {
      this.#fd ??= openDurably(this.#path);
      await this.#sync(this.#fd);
      this.#underWay = undefined;
    } catch (cause) {
      // `#underWay` keeps its value, so every later caller gets this error.
      throw new CommitError('the WAL of SQLite could not be synced', { cause });
    }
  }
}

/** Opens a file that exists but whose name may not be on disk yet. */
function openDurably(path: string): number {
  const folder = openSync(dirname(path), 'r');
  fsyncSync(folder);
  closeSync(folder);
  return openSync(path, 'r');
}
