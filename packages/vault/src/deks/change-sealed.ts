import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { UniqueViolation } from '@cardea/storage/db';
import type { Db, Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { changed } from '../record.ts';
import type { ChangeOutcome } from '../record.ts';
import { DekNotLoaded } from './dek-cache.ts';

const ATTEMPTS_MAX = 20;

/** How a change stands to others that are made at the same time. */
export interface ChangeOptions {
  /** Lets no other secret be written meanwhile, in any vault; reads go on. For what touches many rows. */
  exclusive?: boolean;
}

// PostgreSQL undoes a serializable transaction that others have written beside: one that takes a second or more, and so
// touches many pages, would run again and again while anybody writes at all. Taken before the transaction has seen
// anything, this lock has it wait for those who write now, and the next ones wait for it. SQLite has one writer anyway.
const LOCK: Record<Db['engine'], string | undefined> = {
  sqlite: undefined,
  postgres: `lock table secret in share row exclusive mode`,
};

/**
 * Like `changed`, for work that seals and opens. A transaction never waits for the key service: what it needs and is
 * not here is unwrapped outside of it, and it runs again. So it does when another writer made the same name first.
 * @throws AppError `unavailable` if others are always first; `sealed`; whatever `work` throws
 */
export async function changeSealed<T>(
  ctx: VaultContext,
  caller: Caller,
  work: (tx: Transaction) => Promise<ChangeOutcome<T>>,
  { exclusive = false }: ChangeOptions = {},
): Promise<Audited<T>> {
  const lock = exclusive ? LOCK[ctx.db.engine] : undefined;
  for (let outrun = 0; ;) {
    try {
      return await changed(ctx, caller, async (tx) => {
        if (lock !== undefined) await tx.query(lock);
        return work(tx);
      });
    } catch (error) {
      if (error instanceof DekNotLoaded) await ctx.deks.load(error.ref);
      else if (error instanceof UniqueViolation && outrun < ATTEMPTS_MAX) outrun += 1;
      else if (error instanceof UniqueViolation) throw tooManyWriters(error);
      else throw error;
    }
  }
}

function tooManyWriters(cause: unknown): AppError {
  return new AppError('unavailable', 'too many writers write this secret at once', { cause });
}
