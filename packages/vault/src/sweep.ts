import { setImmediate } from 'node:timers/promises';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { JobRun } from '@cardea/jobs/queue';
import { DbUnavailable } from '@cardea/storage/db';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from './context.ts';
import { changed } from './record.ts';
import type { EventFactsList } from './record.ts';
import { systemCaller } from './system-caller.ts';

/** How many items one transaction takes. Their records fit into one batch of the audit log. */
const PAGE = 200;

/** A part of the items that are due at `now`: those after the item `after`, in the order of the list. */
export interface DuePage<T> {
  now: number;
  after: T | undefined;
  limit: number;
}

/** Work that becomes due by itself, item by item. `at` of an item is the time when it became due. */
export interface DueWork<T extends { at: number }> {
  /** The due items, the oldest first. Reads outside of a transaction, so that no writer conflicts with the list. */
  list(ctx: VaultContext, page: DuePage<T>): Promise<T[]>;
  /**
   * Does what is due with those of the items that are still due, in a transaction of its own. Returns how many these
   * were. Another process may have handled an item since it was listed, or its time was changed.
   */
  work(ctx: VaultContext, items: T[]): Promise<number>;
}

/**
 * Does all work that is due now, in pages of one transaction each. Between two pages other writers have their turn. An
 * item that fails does not stop the others: its page is halved until the item stands alone.
 * @throws the first error of an item, at the end; at once if the database or the audit log does not answer; and after
 * a page if the process stops (see `JobRun`)
 */
export async function sweep<T extends { at: number }>(ctx: VaultContext, due: DueWork<T>, run: JobRun): Promise<void> {
  const now = ctx.now().getTime();
  const errors: unknown[] = [];
  let after: T | undefined;
  for (;;) {
    const items = await due.list(ctx, { now, after, limit: PAGE });
    await workOn(items, { work: (part) => due.work(ctx, part), run, errors });
    if (items.length < PAGE) break;
    after = items.at(-1);
    run.signal.throwIfAborted();
    await setImmediate();
  }
  if (errors.length > 0) throw errors[0];
}

interface Working<T> {
  work(items: T[]): Promise<number>;
  run: JobRun;
  errors: unknown[];
}

async function workOn<T>(items: T[], working: Working<T>): Promise<void> {
  if (items.length === 0) return;
  try {
    working.run.done(await working.work(items));
  } catch (error) {
    if (isAway(error)) throw error;
    if (items.length === 1) return void working.errors.push(error);
    const half = items.length >> 1;
    await workOn(items.slice(0, half), working);
    await workOn(items.slice(half), working);
  }
}

// Smaller pages would fail in the same way.
function isAway(error: unknown): boolean {
  return error instanceof DbUnavailable || (error instanceof AppError && error.code === 'unavailable');
}

/** Changes rows in a transaction and returns what is to be recorded. `now` is in milliseconds since 1970. */
export type DueChange = (tx: Transaction, now: number) => Promise<EventFacts[]>;

/**
 * Changes what is due and records it, as Cardea itself unless another caller is given. Returns for how many events `work` returned facts. If it returns
 * none, nothing changes.
 * @throws what `changed` throws
 */
export async function changeDue(ctx: VaultContext, work: DueChange, caller: Caller = systemCaller): Promise<number> {
  try {
    const { value } = await changed(ctx, caller, async (tx) => {
      const facts = await work(tx, ctx.now().getTime());
      if (facts.length === 0) throw new NothingDue();
      return { value: facts.length, facts: facts as EventFactsList };
    });
    return value;
  } catch (error) {
    if (error instanceof NothingDue) return 0;
    throw error;
  }
}

class NothingDue extends Error {
  override name = 'NothingDue';
}

/**
 * Removes rows that nobody needs any more, in pages of one transaction each. `remove` removes at most `limit` rows and
 * returns how many. @throws after a page if the process stops
 */
export async function removePages(
  ctx: Pick<VaultContext, 'db'>,
  run: JobRun,
  remove: (tx: Transaction, limit: number) => Promise<number>,
): Promise<void> {
  for (;;) {
    const removed = await ctx.db.transaction((tx) => remove(tx, REMOVE_PAGE));
    run.done(removed);
    if (removed < REMOVE_PAGE) return;
    run.signal.throwIfAborted();
    await setImmediate();
  }
}

const REMOVE_PAGE = 1_000;

/** Runs `works` one after the other, and goes on after a failure. @throws the first error, at the end */
export async function runEach(run: JobRun, works: (() => Promise<void>)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const work of works) {
    run.signal.throwIfAborted();
    try {
      await work();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
