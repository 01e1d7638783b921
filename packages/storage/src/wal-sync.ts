import { close, closeSync, fdatasync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { CommitError } from './db.ts';

/** Resolves once everything that was written to the file is on disk. */
export type SyncFile = (fd: number) => Promise<void>;

const syncFile: SyncFile = promisify(fdatasync);

/**
 * Makes what SQLite has committed durable, off the event loop. With synchronous=NORMAL a commit in WAL mode writes to
 * the WAL and returns; SQLite itself syncs only around a checkpoint (sqlite.org/wal.html section 2.3). The fsync that
 * synchronous=FULL would do inside of every commit is done here, on a thread of libuv, one at a time, and each for all
 * that was committed before it began.
 */
export class WalSync {
  readonly #path: string;
  readonly #sync: SyncFile;
  #fd: number | undefined;
  #underWay: Promise<void> | undefined;
  /** Covers what was committed since the one under way began. */
  #following: Promise<void> | undefined;

  constructor(databasePath: string, sync: SyncFile = syncFile) {
    this.#path = `${databasePath}-wal`;
    this.#sync = sync;
  }

  /**
   * To be called right after a commit; resolves once it is on disk.
   * @throws CommitError if it may not be, and from then on always: pages that could not be written once are gone
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

  /** Resolves once everything committed until now is on disk; undefined if it is. @throws CommitError as `committed` */
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
      // What is under way stays so: every later caller fails by it.
      throw new CommitError('the WAL of SQLite could not be synced', { cause });
    }
  }
}

/** The file exists by now, but its name may not be on disk yet. */
function openDurably(path: string): number {
  const folder = openSync(dirname(path), 'r');
  fsyncSync(folder);
  closeSync(folder);
  return openSync(path, 'r');
}
