import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from './context.ts';
import { changed } from './record.ts';
import type { Happening } from './record.ts';
import { systemCaller } from './system-caller.ts';

const PAGE = 100;

/**
 * Works on the due items, page after page. `list` does not return an item again once `work` has handled it. So the
 * sweep stops after a page that is not full, or a page in which no item was still due. `work` returns whether its item
 * was due. An item that fails does not stop the others.
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

/** Runs `works` one after the other, and goes on after a failure. @throws the first error, at the end */
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

/** An item is no longer due: since it was listed, another process handled it or its time was changed. */
export class NotDue extends Error {
  override name = 'NotDue';
}

/** Changes and records as Cardea itself. Returns false and changes nothing if `work` throws NotDue. */
export async function changeIfDue(ctx: VaultContext, work: (tx: Transaction) => Promise<Happening>): Promise<boolean> {
  try {
    await changed(ctx, systemCaller, async (tx) => ({ value: undefined, happening: await work(tx) }));
    return true;
  } catch (error) {
    if (error instanceof NotDue) return false;
    throw error;
  }
}
