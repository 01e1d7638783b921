import { uuidv7 } from '@cardea/crypto/ids';
import type { Queryable } from '@cardea/storage/db';
import { principalOf } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { SYSTEM_VAULT_ID } from '../deks/dek-store.ts';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { changeDue } from '../sweep.ts';
import type { DueChange } from '../sweep.ts';
import { systemCaller } from '../system-caller.ts';
import { adoptKek } from './adopt-kek.ts';
import { finishDestructions } from './kek-destruction.ts';
import { findLastRotation, findLastRotationBy, listRunning } from './rotation-store.ts';
import { rotationStarted, startDekRotation, startKekRotation } from './start-rotation.ts';

/** How many runs work on the oldest DEK rotation. On SQLite, only one process works on it. */
const RUNS = { sqlite: 1, postgres: 3 } as const;
/** Times that lie further ahead than this were written before the clock was set back. */
const CLOCK_SKEW_MS = 5 * MINUTE_MS;
const STARTED_BY = principalOf(systemCaller);

/**
 * Starts the rotations that are due, and adds the jobs of the rotations that run. All of it is found in the database,
 * so this may run at any time, several times, and after the queue has lost its jobs. A turn that was missed while
 * everything was down starts once.
 * @throws AppError `sealed`, `unavailable`, after everything that does not need kek-service
 */
export async function scheduleRotations(ctx: VaultContext): Promise<void> {
  await startDueDekRotation(ctx);
  await startDueKekRotation(ctx);
  await addRuns(ctx);
  await finishDestructions(ctx);
  if (await adoptKek(ctx)) await addRuns(ctx);
}

// When a DEK has sealed new values for long enough, every vault whose DEK has sealed a new value gets another one.
// Nothing starts while the last rotation of the schedule is open, nor sooner than a period after its start.
async function startDueDekRotation(ctx: VaultContext): Promise<void> {
  const { dekRotationMs: periodMs } = ctx.settings;
  if (periodMs === 0) return;
  const work: DueChange = async (tx, now) => {
    if (!(await hasDueDek(tx, now, periodMs)) || (await hasRecentTurn(tx, now, periodMs))) return [];
    const id = uuidv7(now);
    await startDekRotation(tx, { id, startedBy: STARTED_BY, now: new Date(now) }, 'written');
    const changes = rotationStarted('dek');
    return [{ action: 'rotation.start', rule: 'rotation-schedule', reason: 'dek', resource: { name: id }, changes }];
  };
  if (await hasDueDek(ctx.db, ctx.now().getTime(), periodMs)) await changeDue(ctx, work);
}

async function hasRecentTurn(db: Queryable, now: number, periodMs: number): Promise<boolean> {
  const last = await findLastRotationBy(db, 'dek', STARTED_BY);
  return last !== undefined && (last.finished_at === null || !isPast(last.started_at, now, periodMs));
}

async function hasDueDek(db: Queryable, now: number, periodMs: number): Promise<boolean> {
  const rows = await db.query(
    `select vault_id
       from dek
      where state = 'active'
        and first_used_at is not null
        and (first_used_at <= $1 or first_used_at > $2)
      limit 1`,
    [now - periodMs, now + CLOCK_SKEW_MS],
  );
  return rows.length > 0;
}

// A KEK rotation is due a period after the start of the last one, whoever started it, or after the installation.
async function startDueKekRotation(ctx: VaultContext): Promise<void> {
  const { kekRotationMs: periodMs } = ctx.settings;
  if (periodMs === 0) return;
  const isDue = async (db: Queryable, now: number) => {
    const last = await findLastKekTurn(db);
    return last !== undefined && isPast(last, now, periodMs);
  };
  const work: DueChange = async (tx, now) => {
    if (!(await isDue(tx, now))) return [];
    const { id, started } = await startKekRotation(tx, { id: uuidv7(now), startedBy: STARTED_BY, now: new Date(now) });
    if (!started) return [];
    const changes = rotationStarted('kek');
    return [{ action: 'rotation.start', rule: 'rotation-schedule', reason: 'kek', resource: { name: id }, changes }];
  };
  if (await isDue(ctx.db, ctx.now().getTime())) await changeDue(ctx, work);
}

async function findLastKekTurn(db: Queryable): Promise<number | undefined> {
  const last = await findLastRotation(db, 'kek');
  if (last) return last.started_at;
  const [first] = await db.query<{ created_at: number }>(
    `select created_at
       from dek
      where vault_id = $1
      order by version
      limit 1`,
    [SYSTEM_VAULT_ID],
  );
  return first?.created_at;
}

function isPast(at: number, now: number, periodMs: number): boolean {
  return at <= now - periodMs || at > now + CLOCK_SKEW_MS;
}

/** Since when the schedule has owed a rotation of DEKs or of the KEK, in milliseconds since 1970; undefined if it owes none. */
export async function oldestDueRotation(ctx: VaultContext): Promise<{ dek?: number; kek?: number }> {
  const { dekRotationMs, kekRotationMs } = ctx.settings;
  const now = ctx.now().getTime();
  const due = (from: number | undefined, periodMs: number) =>
    periodMs > 0 && from !== undefined && from + periodMs <= now ? from + periodMs : undefined;
  const dek = due(await findOldestUse(ctx.db), dekRotationMs);
  const kek = due(await findLastKekTurn(ctx.db), kekRotationMs);
  return { ...(dek === undefined ? {} : { dek }), ...(kek === undefined ? {} : { kek }) };
}

/** When the active DEK that has been in use for the longest was used first. */
async function findOldestUse(db: Queryable): Promise<number | undefined> {
  const [row] = await db.query<{ at: number | null }>(
    `select min(first_used_at) as at
       from dek
      where state = 'active'
        and first_used_at is not null`,
  );
  return row?.at ?? undefined;
}

async function addRuns(ctx: VaultContext): Promise<void> {
  const kek = await listRunning(ctx.db, 'kek', 1);
  const dek = await listRunning(ctx.db, 'dek', 1);
  const runs = RUNS[ctx.db.engine];
  for (const { id } of kek) await ctx.jobs.add('rotation.run', { rotationId: id }, { key: id });
  for (const { id } of dek) {
    for (let run = 1; run <= runs; run += 1) {
      await ctx.jobs.add('rotation.run', { rotationId: id }, { key: `${id} ${run}` });
    }
  }
}
