import type { Caller } from '@cardea/contracts/caller';
import type { Db, Transaction } from '@cardea/storage/db';
import { principalOf } from '../../authorize.ts';
import type { LastRead, LastReads, VaultContext } from '../../context.ts';
import { SharedPlaces } from '../../shared-places.ts';
import type { VersionRow } from '../version-store.ts';

const WAITING_MAX = { each: 4_000, together: 20_000 };
// How many reads one transaction writes: in SQLite all other writers wait for it.
const PAGE = 100;

/** Notes who has read these versions. Called after the read is recorded: without a record nobody has seen the value. */
export function noteReads(ctx: VaultContext, caller: Caller, rows: Pick<VersionRow, 'secret_id' | 'version'>[]): void {
  const at = ctx.now().getTime();
  const by = principalOf(caller);
  for (const { secret_id: secretId, version } of rows) ctx.lastReads.note({ secretId, version, at, by });
}

export function createLastReads(db: Db): LastReads {
  const waiting = new SharedPlaces<LastRead>(WAITING_MAX);
  return {
    // If there is no place, a new read is in the audit log only.
    note(read) {
      if (waiting.get(keyOf(read)) || waiting.hasRoom(read.by)) waiting.set(keyOf(read), read);
    },
    of(secretId) {
      return waiting.values().filter((read) => read.secretId === secretId);
    },
    async flush() {
      const reads = waiting.values();
      for (let i = 0; i < reads.length; i += PAGE) {
        const page = reads.slice(i, i + PAGE);
        await db.lockingTransaction({}, (tx) => writeAll(tx, page));
        // A newer read, noted during the transaction, waits for the next flush.
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
