import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { Turns } from '@cardea/storage/turns';
import { principalOf } from '../../authorize.ts';
import { confirmGround } from '../../confirm-rights.ts';
import type { BulkTurns, VaultContext } from '../../context.ts';
import { noteWait } from '../../right.ts';
import type { Ground } from '../../right.ts';

const WAIT_MS = 15_000;
const RETRY_AFTER_SECONDS = 2;

/** More at once would not be faster: this process has one thread, and SQLite one writer. */
const MANY = { atOnce: 2, ownAtOnce: 1, waitingMax: 16, ownWaitingMax: 3 };
/** A batch takes milliseconds. Many instances of one application may read theirs at the same moment, so more wait. */
const BATCHES = { atOnce: 4, ownAtOnce: 2, waitingMax: 128, ownWaitingMax: 32 };

export function createBulkTurns(): BulkTurns {
  const many = turnsOf(MANY, 'imports, exports, moves and deletions of many secrets');
  const batches = turnsOf(BATCHES, 'batches');
  return {
    run: (caller, work) => many.take(work, principalOf(caller)),
    runBatch: (caller, work) => batches.take(work, principalOf(caller)),
  };
}

/**
 * Runs `work` when it is its turn: see `BulkTurns`. Who has lost a right while they waited learns nothing from how the
 * work would have been refused, and nothing is opened for them (I8).
 * @throws AppError `rate_limited`; as `confirmGround`; whatever `work` throws
 */
export function inBulkTurn<T>(ctx: VaultContext, caller: Caller, ground: Ground, work: () => Promise<T>): Promise<T> {
  return ctx.bulkTurns.run(caller, () => confirmed(ctx, caller, ground, work));
}

/** The same for a batch. */
export function inBatchTurn<T>(ctx: VaultContext, caller: Caller, ground: Ground, work: () => Promise<T>): Promise<T> {
  return ctx.bulkTurns.runBatch(caller, () => confirmed(ctx, caller, ground, work));
}

async function confirmed<T>(ctx: VaultContext, caller: Caller, ground: Ground, work: () => Promise<T>): Promise<T> {
  noteWait(caller);
  await confirmGround(ctx, caller, ground);
  return work();
}

function turnsOf(limits: typeof MANY, what: string): Turns {
  return new Turns({
    ...limits,
    waitMs: WAIT_MS,
    refuse: (isOwn) => tooMany(`${isOwn ? 'you have' : 'all callers together have'} too many ${what}`),
  });
}

function tooMany(what: string): AppError {
  const message = `${what} under way: repeat the call`;
  return new AppError('rate_limited', message, { rule: 'bulk-turns', retryAfterSeconds: RETRY_AFTER_SECONDS });
}
