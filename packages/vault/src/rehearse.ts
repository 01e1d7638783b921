import type { Caller } from '@cardea/contracts/caller';
import type { Transaction } from '@cardea/storage/db';
import { changeInVaults } from './change-in-vaults.ts';
import type { VaultChange } from './change-in-vaults.ts';
import type { VaultContext } from './context.ts';
import type { ChangeOutcome } from './record.ts';

/**
 * Does what `changeInVaults` would do and rolls all of it back. The result is what the real change would have given.
 * Records nothing: the caller that shows the result records it. It holds the locks of the change, so a dry run does it
 * only if references are involved: what becomes of those is hard to tell from the rows as they are. It must not open or
 * seal thousands of values.
 * @throws what `changeInVaults` throws
 */
export async function rehearse<T>(
  ctx: VaultContext,
  caller: Caller,
  change: VaultChange,
  work: (tx: Transaction) => Promise<ChangeOutcome<T>>,
): Promise<T> {
  try {
    const takenBack = async (tx: Transaction) => {
      throw new Rehearsed(await work(tx));
    };
    await changeInVaults(ctx, caller, change, takenBack);
  } catch (error) {
    if (error instanceof Rehearsed) return (error as Rehearsed<T>).done.value;
    throw error;
  }
  throw new Error('the dry run was not rolled back');
}

/** Rolls a transaction back and carries its result out of it. */
class Rehearsed<T> extends Error {
  readonly done: ChangeOutcome<T>;

  constructor(done: ChangeOutcome<T>) {
    super('this was a dry run');
    this.done = done;
  }
}
