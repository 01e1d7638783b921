import type { Caller } from '@cardea/contracts/caller';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import type { Done } from '../record.ts';
import { changeSecrets } from './change-sealed.ts';
import type { Manner } from './change-sealed.ts';

/**
 * Does what `changeSecrets` would do and takes all of it back: what comes of it is what would have come of it. Records
 * nothing: who shows it does.
 * @throws what `changeSecrets` throws
 */
export async function rehearse<T>(
  ctx: VaultContext,
  caller: Caller,
  work: (tx: Transaction) => Promise<Done<T>>,
  manner: Manner = {},
): Promise<T> {
  try {
    const takenBack = async (tx: Transaction) => {
      throw new Rehearsed(await work(tx));
    };
    await changeSecrets(ctx, caller, takenBack, manner);
  } catch (error) {
    if (error instanceof Rehearsed) return (error as Rehearsed<T>).done.value;
    throw error;
  }
  throw new Error('a dry run has not ended');
}

/** Ends a transaction that is to leave nothing behind. */
class Rehearsed<T> extends Error {
  readonly done: Done<T>;

  constructor(done: Done<T>) {
    super('this was a dry run');
    this.done = done;
  }
}
