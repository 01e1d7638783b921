import { AppError } from '@cardea/contracts/errors';
import { Turns } from '@cardea/storage/turns';
import type { TurnLimits } from '@cardea/storage/turns';
import type { SlowWork } from '../../context.ts';

const WAIT_MS = 15_000;

/** Milliseconds each. libuv has four threads; the others are for the disk, which every change and every answer waits for. */
const USES = { atOnce: 2, ownAtOnce: 2, waitingMax: 2_048, ownWaitingMax: 256 };
/** Up to some seconds each, so no use of a key stands behind one. */
const GENERATIONS = { atOnce: 1, ownAtOnce: 1, waitingMax: 64, ownWaitingMax: 4 };

/** See `SlowWork`. */
export function createSlowWork(): SlowWork {
  const [uses, generations] = [turnsOf(USES), turnsOf(GENERATIONS)];
  return {
    use: (caller, work) => uses.take(work, caller),
    generate: (caller, work) => generations.take(work, caller),
  };
}

function turnsOf(limits: Omit<TurnLimits, 'waitMs' | 'refuse'>): Turns {
  return new Turns({ ...limits, waitMs: WAIT_MS, refuse: tooMuch });
}

function tooMuch(isOwn: boolean): AppError {
  const [code, message] = isOwn
    ? (['rate_limited', 'too much of your work waits for its turn'] as const)
    : (['unavailable', 'too much work waits for its turn'] as const);
  return new AppError(code, message, { rule: 'slow-work', retryAfterSeconds: 1 });
}
