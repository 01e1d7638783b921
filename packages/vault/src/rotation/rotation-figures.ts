import type { Queryable } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { SECOND_MS } from '@cardea/contracts/durations';
import { sumVaults } from './rotation-vault-store.ts';

/** The names of the figures, and what each tells. */
export const rotationFigures = {
  cardea_rotations_running: 'Rotations that are running.',
  cardea_rotations_paused: 'Rotations that are paused.',
  cardea_rotation_rows_done: 'Rows that the open rotations have sealed again or rewrapped.',
  cardea_rotation_rows_left: 'Rows that the open rotations have left.',
  cardea_rotation_unopened_rows: 'Rows that a rotation could not open. Each keeps an old key: see docs/rotation.md.',
  cardea_rotation_retiring_deks: 'DEKs that only open values, and wait for their destruction.',
  cardea_rotation_oldest_open_seconds: 'Age of the oldest rotation that is running or paused; 0 for none.',
  cardea_rotation_dek_overdue_seconds: 'How long the oldest DEK is used beyond CARDEA_DEK_ROTATION_HOURS; 0 for none.',
} as const;

/** Figures of rotations as of now, for metrics. Two or three short statements. @throws DbUnavailable */
export async function readRotationFigures(
  ctx: Pick<VaultContext, 'db' | 'settings' | 'now'>,
): Promise<Record<keyof typeof rotationFigures, number>> {
  const now = ctx.now().getTime();
  const open = await listOpen(ctx.db);
  const { unopened, retiring, first_used_at } = await countAll(ctx.db);
  const { dekRotationMs: periodMs } = ctx.settings;
  const isScheduled = periodMs > 0 && first_used_at !== null;
  return {
    cardea_rotations_running: open.filter(({ state }) => state === 'running').length,
    cardea_rotations_paused: open.filter(({ state }) => state === 'paused').length,
    cardea_rotation_rows_done: sumOf(open.map(({ done }) => done)),
    cardea_rotation_rows_left: sumOf(open.map(({ total, done, failed }) => Math.max(0, total - done - failed))),
    cardea_rotation_unopened_rows: unopened,
    cardea_rotation_retiring_deks: retiring,
    cardea_rotation_oldest_open_seconds: secondsSince(open[0]?.started_at ?? now, now),
    cardea_rotation_dek_overdue_seconds: isScheduled ? secondsSince(first_used_at + periodMs, now) : 0,
  };
}

interface OpenRotation {
  id: string;
  kind: string;
  state: string;
  total: number;
  done: number;
  failed: number;
  started_at: number;
}

async function listOpen(db: Queryable): Promise<OpenRotation[]> {
  const rows = await db.query<OpenRotation>(
    `select id, kind, state, total, done, failed, started_at
       from rotation
      where finished_at is null
      order by started_at, id
      limit 100`,
  );
  const counted: OpenRotation[] = [];
  for (const row of rows) counted.push(row.kind === 'dek' ? { ...row, ...(await sumVaults(db, row.id)) } : row);
  return counted;
}

interface Totals {
  unopened: number;
  retiring: number;
  first_used_at: number | null;
}

async function countAll(db: Queryable): Promise<Totals> {
  const [row] = await db.query<Totals>(
    `select (select count(*) from unopened_row) as unopened,
            (select count(*) from dek where state = 'retiring') as retiring,
            (select min(first_used_at) from dek where state = 'active' and first_used_at is not null) as first_used_at`,
  );
  return row!;
}

function sumOf(numbers: number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0);
}

function secondsSince(at: number, now: number): number {
  return Math.max(0, now - at) / SECOND_MS;
}
