import type { Db, Transaction } from '@cardea/storage/db';

const WAITING_MAX = 10_000;
// How many are written in one transaction: in SQLite all others wait for it.
const PAGE = 100;

/** Who read a version last, and when. */
export interface LastRead {
  secretId: string;
  version: number;
  at: number;
  /** A principal: `user:<id>`. */
  by: string;
}

/**
 * Remembers who read what last and writes it down now and then: a read must not cost a write. A crash loses a few
 * seconds of it, which the audit log has.
 */
export interface LastReads {
  note(read: LastRead): void;
  /** What is noted of a secret and not written down yet. */
  of(secretId: string): LastRead[];
  /** Writes down what was noted until now. What it could not stays noted. @throws DbUnavailable */
  flush(): Promise<void>;
}

export function createLastReads(db: Db): LastReads {
  const waiting = new Map<string, LastRead>();
  return {
    note(read) {
      const key = keyOf(read);
      // Whoever comes when it is full is in the audit log only.
      if (waiting.size < WAITING_MAX || waiting.has(key)) waiting.set(key, read);
    },
    of(secretId) {
      return [...waiting.values()].filter((read) => read.secretId === secretId);
    },
    async flush() {
      const reads = [...waiting.values()];
      for (let i = 0; i < reads.length; i += PAGE) {
        const page = reads.slice(i, i + PAGE);
        await db.transaction((tx) => writeAll(tx, page));
        // A read that was noted meanwhile waits for the next time.
        for (const read of page) if (waiting.get(keyOf(read)) === read) waiting.delete(keyOf(read));
      }
    },
  };
}

function keyOf({ secretId, version }: LastRead): string {
  return `${secretId}:${version}`;
}

async function writeAll(tx: Transaction, reads: LastRead[]): Promise<void> {
  for (const { secretId, version, at, by } of reads) {
    await tx.query(
      `update secret_version
          set last_read_at = $3,
              last_read_by = $4
        where secret_id = $1
          and version = $2
          and coalesce(last_read_at, 0) <= $3`,
      [secretId, version, at, by],
    );
  }
}
