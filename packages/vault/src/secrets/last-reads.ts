import type { Db } from '@cardea/storage/db';

const WAITING_MAX = 10_000;

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
  /** Writes down what was noted until now. */
  flush(): Promise<void>;
}

export function createLastReads(db: Db): LastReads {
  let waiting = new Map<string, LastRead>();
  return {
    note(read) {
      const key = `${read.secretId}:${read.version}`;
      // Whoever comes when it is full is in the audit log only.
      if (waiting.size < WAITING_MAX || waiting.has(key)) waiting.set(key, read);
    },
    async flush() {
      const reads = [...waiting.values()];
      if (reads.length === 0) return;
      waiting = new Map();
      await db.transaction(async (tx) => {
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
      });
    },
  };
}
