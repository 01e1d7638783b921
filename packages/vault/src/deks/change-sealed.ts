import type { Audited } from '@cardea/contracts/audited';
import { callerKey } from '@cardea/contracts/caller-key';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { UniqueViolation } from '@cardea/storage/db';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { hasAccount } from '../confirm-rights.ts';
import { changed } from '../record.ts';
import type { ChangeOutcome, ChangeTerms } from '../record.ts';
import { DekNotLoaded } from './dek-cache.ts';
import { isMissingDek } from './open-or-reread.ts';

const ATTEMPTS_MAX = 20;

/**
 * Like `changed`, for work that seals and opens. A transaction never waits for the key service: a DEK that is not in
 * the cache is unwrapped outside of the transaction, which then runs again. It also runs again if another writer
 * created the same name first.
 * @throws AppError `unavailable` if other writers are first every time; `sealed`; whatever `work` throws
 */
export async function changeSealed<T>(
  ctx: VaultContext,
  caller: Caller,
  work: (tx: Transaction) => Promise<ChangeOutcome<T>>,
  terms?: ChangeTerms,
): Promise<Audited<T>> {
  const gone = new Set<string>();
  for (let outrun = 0; ;) {
    try {
      return await changed(ctx, caller, work, terms);
    } catch (error) {
      if (error instanceof DekNotLoaded) await loadOrNote(ctx, caller, error, gone);
      else if (error instanceof UniqueViolation && outrun < ATTEMPTS_MAX) outrun += 1;
      else if (error instanceof UniqueViolation) throw tooManyWriters(error);
      else throw error;
    }
  }
}

// A rotation may have destroyed the DEK after the transaction read a row that it sealed. The row is sealed again under
// another DEK now, so the transaction runs again. If it needs the same DEK again, the DEK is missing.
async function loadOrNote(ctx: VaultContext, caller: Caller, { ref }: DekNotLoaded, gone: Set<string>): Promise<void> {
  const id = `${ref.vaultId}:${ref.dekVersion}`;
  try {
    await ctx.deks.load(ref, hasAccount(caller) ? callerKey(caller) : undefined);
  } catch (error) {
    if (!isMissingDek(error) || gone.has(id)) throw error;
    gone.add(id);
  }
}

function tooManyWriters(cause: unknown): AppError {
  return new AppError('unavailable', 'too many requests write this secret at the same time: repeat the call', {
    cause,
  });
}
