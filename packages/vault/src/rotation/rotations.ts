import { noChanges } from '@cardea/contracts/audit-changes';
import type { AuditResource } from '@cardea/contracts/audit-event';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { uuidv7 } from '@cardea/crypto/ids';
import { authorizeSystem, principalOf } from '../authorize.ts';
import { findGrantedIn } from '../access-store.ts';
import type { VaultContext } from '../context.ts';
import { fromCursor } from '../cursor.ts';
import type { ListId } from '../cursor.ts';
import { SECOND_MS } from '@cardea/contracts/durations';
import { vaultNotThere } from '../not-there.ts';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { audited, changed } from '../record.ts';
import { nudgeRotations } from './nudge-rotations.ts';
import { countsOf } from './rotation-counts.ts';
import { findRotation, listRotationRows } from './rotation-store.ts';
import type { RotationCounts, RotationKind, RotationRow, RotationState } from './rotation-store.ts';
import { rotationStarted, startDekRotation, startKekRotation } from './start-rotation.ts';
import { listUnopenedIn } from './unopened-store.ts';
import type { NamedUnopenedRow } from './unopened-store.ts';

/** At most so many failures are shown. All of them are in the audit log. */
const FAILURES_MAX = 100;
/** Sorts after every rotation. */
const LAST = { startedAt: Number.MAX_SAFE_INTEGER, id: '' };

/** How far a rotation is. */
export interface Rotation extends RotationCounts {
  id: string;
  kind: RotationKind;
  state: RotationState;
  /** The KEK version that a KEK rotation has made. */
  kekVersion?: number;
  startedAt: Date;
  startedBy: string;
  finishedAt?: Date;
  /** Rows a second since the start, without pauses. */
  rowsPerSecond: number;
  /** When it will end at this speed. Only while it runs and has done something. */
  estimatedEnd?: Date;
}

/** A row that a rotation could not open. */
export interface RotationFailure {
  kind: string;
  vault?: string;
  /** The id of the secret, the user or the key; of a DEK the id of its vault. */
  id: string;
  name?: string;
  version?: number;
  dekVersion?: number;
  reason: string;
  foundAt: Date;
}

/**
 * Starts a rotation of the DEK of one vault, of the DEKs of all vaults, or of the KEK. While a KEK rotation is open,
 * and for 5 minutes after its start, the answer is the id of that one.
 * @throws AppError `access_denied` unless the caller is an admin; `not_found` for a vault that does not exist
 */
export async function startRotation(
  ctx: VaultContext,
  caller: Caller,
  { kind, vault }: { kind: RotationKind; vault?: string | undefined },
): Promise<Audited<{ id: string }>> {
  const { rule } = authorizeSystem(ctx, caller, 'rotation.manage');
  const now = ctx.now();
  const request = { id: uuidv7(now.getTime()), startedBy: principalOf(caller), now };
  const vaultId = vault === undefined ? undefined : await getVaultId(ctx, caller, vault);
  const started = await changed(ctx, caller, async (tx) => {
    let { id } = request;
    let isNew = true;
    if (kind === 'kek') ({ id, started: isNew } = await startKekRotation(tx, request));
    else await startDekRotation(tx, request, vaultId === undefined ? 'all' : { vaultId });
    const resource: AuditResource = { name: id, ...(vault && vaultId ? { vault, vaultId } : {}) };
    const reason = isNew ? kind : `${kind}: one is open, or has just started`;
    const changes = isNew ? rotationStarted(kind) : noChanges;
    return { value: { id }, facts: { action: 'rotation.start', rule, resource, reason, changes } };
  });
  nudgeRotations(ctx);
  return started;
}

async function getVaultId(ctx: VaultContext, caller: Caller, vault: string): Promise<string> {
  const found = await findGrantedIn(ctx.db, vault, principalOf(caller));
  if (!found) throw vaultNotThere();
  return found.vault.id;
}

const ROTATIONS: ListId = ['rotations'];

/** The rotations, the newest first. For admins, and for oversight. @throws AppError `access_denied` */
export async function listRotations(
  ctx: VaultContext,
  caller: Caller,
  { limit, cursor }: PageRequest,
): Promise<Audited<Page<Rotation>>> {
  const right = authorizeSystem(ctx, caller, 'rotation.read');
  const [startedAt, id] = fromCursor(ROTATIONS, cursor, [LAST.startedAt, LAST.id]);
  const rows = await listRotationRows(ctx.db, { before: { startedAt, id }, limit: limit + 1 });
  const page = pageOf(ROTATIONS, rows, limit, (row) => [row.started_at, row.id]);
  const items: Rotation[] = [];
  for (const row of page.items) items.push(await toRotation(ctx, row));
  const facts = { action: 'rotation.list', rule: right.rule, resource: { count: items.length } } as const;
  return audited(ctx, caller, [right], facts, () => ({ ...page, items }));
}

/**
 * A rotation, with the first 100 rows that it could not open. A row is listed under the last rotation that met it.
 * @throws AppError `access_denied`, `not_found`
 */
export async function readRotation(
  ctx: VaultContext,
  caller: Caller,
  id: string,
): Promise<Audited<Rotation & { failures: RotationFailure[] }>> {
  const right = authorizeSystem(ctx, caller, 'rotation.read');
  const row = await findRotation(ctx.db, id);
  if (!row) throw rotationNotThere();
  const rotation = await toRotation(ctx, row);
  const failures = (await listUnopenedIn(ctx.db, id, FAILURES_MAX)).map(toFailure);
  const facts = { action: 'rotation.read', rule: right.rule, resource: { name: id } } as const;
  return audited(ctx, caller, [right], facts, () => ({ ...rotation, failures }));
}

/** The error for a rotation that does not exist. */
export function rotationNotThere(): AppError {
  return new AppError('not_found', 'no such rotation', { rule: 'no-such-rotation' });
}

/** A rotation as it is shown. */
export async function toRotation(ctx: Pick<VaultContext, 'db' | 'now'>, row: RotationRow): Promise<Rotation> {
  const counts = await countsOf(ctx.db, row);
  const now = ctx.now().getTime();
  const rowsPerSecond = speedOf(row, counts, now);
  const left = counts.total - counts.done - counts.failed;
  const isEstimated = row.state === 'running' && rowsPerSecond > 0;
  return {
    id: row.id,
    kind: row.kind,
    state: row.state,
    ...counts,
    ...(row.kek_version === null ? {} : { kekVersion: row.kek_version }),
    startedAt: new Date(row.started_at),
    startedBy: row.started_by,
    ...(row.finished_at === null ? {} : { finishedAt: new Date(row.finished_at) }),
    rowsPerSecond,
    ...(isEstimated ? { estimatedEnd: new Date(now + (left / rowsPerSecond) * SECOND_MS) } : {}),
  };
}

function speedOf(row: RotationRow, { done }: RotationCounts, now: number): number {
  const until = row.finished_at ?? row.paused_at ?? now;
  const workedMs = until - row.started_at - row.paused_ms;
  return workedMs > 0 ? Math.round((done / workedMs) * SECOND_MS * 10) / 10 : 0;
}

function toFailure(row: NamedUnopenedRow): RotationFailure {
  return {
    kind: row.kind,
    ...(row.vault_name === null ? {} : { vault: row.vault_name }),
    id: row.id,
    ...(row.name === null ? {} : { name: row.name }),
    ...(row.version === 0 ? {} : { version: row.version }),
    ...(row.dek_version === null ? {} : { dekVersion: row.dek_version }),
    reason: row.reason,
    foundAt: new Date(row.found_at),
  };
}
