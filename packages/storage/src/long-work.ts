/** Long work keeps the event loop for about this long, and then others get their turn. */
const SLICE_MS = 4;

let beganAt: number | undefined;

/** The work of callers that waits, in the order in which it came. */
const callers = new Map<string, (() => void)[]>();
/** How long the work of callers has had the event loop since somebody waits. */
const usedMs = new Map<string, number>();
/** The time of the caller whose turn was last, so that nobody saves up time. */
let reachedMs = 0;
/** Work that waits although others wait for it. */
const holders: (() => void)[] = [];
let wasHolder = false;

/**
 * Call it before each step of work that may have many steps, and await what it returns. It is undefined as long as all
 * long work of the process together has kept the event loop for less than `SLICE_MS` in this turn, which is the usual
 * case and costs nothing. Otherwise it resolves in a later turn.
 *
 * Of all that waits, one step after the other goes on until the turn is long again: that of the caller (`by`) who has used the
 * least time, so a hundred long requests of one caller make another wait no longer than one does. Work without `by` has
 * what others wait for, such as the writer of SQLite, and is every second step.
 *
 * A promise alone lets nobody else in: if nothing waits for a socket or a disk, code behind an `await` runs in the same
 * turn. Statements of SQLite are such code.
 */
export function pauseIfLong(by?: string): Promise<void> | undefined {
  if (isLong()) return wait(by);
  if (beganAt === undefined) begin();
  return undefined;
}

function isLong(): boolean {
  return beganAt !== undefined && performance.now() - beganAt >= SLICE_MS;
}

function wait(by: string | undefined): Promise<void> {
  return new Promise((resolve) => queueOf(by).push(resolve));
}

function queueOf(by: string | undefined): (() => void)[] {
  if (by === undefined) return holders;
  const known = callers.get(by);
  if (known) return known;
  const fresh: (() => void)[] = [];
  callers.set(by, fresh);
  usedMs.set(by, Math.max(usedMs.get(by) ?? 0, reachedMs));
  return fresh;
}

function begin(): void {
  beganAt = performance.now();
  setImmediate(letOthersIn);
}

function letOthersIn(): void {
  beganAt = undefined;
  if (holders.length > 0 || callers.size > 0) {
    begin();
    letNextIn();
  } else {
    usedMs.clear();
    reachedMs = 0;
  }
}

function letNextIn(): void {
  wasHolder = holders.length > 0 && !(wasHolder && callers.size > 0);
  const by = wasHolder ? undefined : leastUsed();
  const next = by === undefined ? holders.shift() : takeFrom(by);
  if (!next) return;
  const startedAt = performance.now();
  next();
  // The step has ended once no promise of this turn goes on.
  queueMicrotask(() => process.nextTick(ended));

  function ended(): void {
    if (by !== undefined) usedMs.set(by, usedMs.get(by)! + performance.now() - startedAt);
    if (!isLong()) letNextIn();
  }
}

function leastUsed(): string | undefined {
  let least: string | undefined;
  for (const by of callers.keys()) if (least === undefined || usedMs.get(by)! < usedMs.get(least)!) least = by;
  return least;
}

function takeFrom(by: string): (() => void) | undefined {
  reachedMs = usedMs.get(by)!;
  const own = callers.get(by)!;
  const next = own.shift();
  if (own.length === 0) callers.delete(by);
  return next;
}
