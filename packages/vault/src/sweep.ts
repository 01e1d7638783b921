import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from './context.ts';
import { changed } from './record.ts';
import type { Happening } from './record.ts';
import { systemCaller } from './system-caller.ts';

const PAGE = 100;

/**
 * Works on page after page of what is due. What was worked on is not listed again, so it ends with a page that is not
 * full, or of which nothing was due any more; `work` says whether it was. What fails keeps nothing else from its turn.
 * @throws the first error that `work` threw, at the end
 */
export async function sweepPages<T>(
  list: (limit: number) => Promise<T[]>,
  work: (item: T) => Promise<boolean>,
): Promise<void> {
  const errors: unknown[] = [];
  for (;;) {
    const items = await list(PAGE);
    let done = 0;
    for (const item of items) {
      try {
        if (await work(item)) done += 1;
      } catch (error) {
        errors.push(error);
      }
    }
    if (items.length < PAGE || done === 0) break;
  }
  if (errors.length > 0) throw errors[0];
}

/** Runs one after the other, also after one that fails. @throws the first error, at the end */
export async function runEach(works: (() => Promise<void>)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const work of works) {
    try {
      await work();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

/** Somebody else was first, or the time was moved, since it was listed. */
export class NotDue extends Error {
  override name = 'NotDue';
}

/** Changes and records as Cardea itself. False, and nothing done, if `work` throws NotDue. */
export async function changeIfDue(ctx: VaultContext, work: (tx: Transaction) => Promise<Happening>): Promise<boolean> {
  try {
    await changed(ctx, systemCaller, async (tx) => ({ value: undefined, happening: await work(tx) }));
    return true;
  } catch (error) {
    if (error instanceof NotDue) return false;
    throw error;
  }
}
