import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { eventPayloads } from '@cardea/contracts/events';
import type { EventKind, EventPayload, VaultEvent } from '@cardea/contracts/events';
import { uuidv7 } from '@cardea/crypto/ids';
import type { JobRun } from '@cardea/jobs/queue';
import type { Transaction } from '@cardea/storage/db';
import { authorize, authorizeSystem } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { fromCursor } from '../cursor.ts';
import type { ListId } from '../cursor.ts';
import { SYSTEM_VAULT_ID } from '../deks/dek-store.ts';
import { DAY_MS } from '@cardea/contracts/durations';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { audited } from '../record.ts';
import { removePages } from '../sweep.ts';
import { findVaultNames } from '../vault-names.ts';
import { isWanted, publish } from '../webhooks/publish.ts';
import { insertEvents, listEventRows, removeEventsBefore, removeEventsOf } from './event-store.ts';
import type { EventRow } from './event-store.ts';

const KEPT_MS = 90 * DAY_MS;
const CLEAR_PAGE = 1_000;

/** Something that the owners of a vault should know, or the admins if the vault is `SYSTEM_VAULT_ID`. */
export interface NewEvent<K extends EventKind> {
  vaultId: string;
  kind: K;
  payload: EventPayload<K>;
  /** Milliseconds since 1970. */
  at: number;
}

/**
 * Writes events in the transaction of the change that they report, and the webhooks that tell of them.
 * @throws ZodError for a payload of another kind
 */
export async function addEvents<K extends EventKind>(
  ctx: Pick<VaultContext, 'db' | 'settings'>,
  tx: Transaction,
  events: NewEvent<K>[],
): Promise<void> {
  if (events.length === 0) return;
  await insertEvents(tx, ctx.db.engine, events.map(toRow));
  await publishEvents(ctx, tx, events);
}

function toRow<K extends EventKind>({ vaultId, kind, payload, at }: NewEvent<K>): EventRow & { vault_id: string } {
  // The parser refuses fields that the contract does not name: a read would refuse them, and they may be confidential.
  const checked = JSON.stringify(eventPayloads[kind].parse(payload));
  return { id: uuidv7(at), vault_id: vaultId, kind, payload: checked, created_at: at };
}

async function publishEvents<K extends EventKind>(
  ctx: Pick<VaultContext, 'db' | 'settings'>,
  tx: Transaction,
  events: NewEvent<K>[],
): Promise<void> {
  const wanted = events.filter(({ kind }) => isWanted(ctx, kind));
  if (wanted.length === 0) return;
  const vaultIds = new Set(wanted.map(({ vaultId }) => vaultId));
  const names = await findVaultNames(tx, ctx.db.engine, [...vaultIds]);
  const publications = wanted.map(({ vaultId, kind, payload, at }) => {
    // The events of the system have no vault. The contract of webhooks leaves out what only owners may see.
    const vault = names.has(vaultId) ? { vault: names.get(vaultId), vaultId } : {};
    return { kind, data: { ...payload, ...vault }, at };
  });
  await publish(ctx, tx, publications);
}

/** The events of a vault, the newest first: for owners, and for oversight. */
export async function listEvents(
  ctx: VaultContext,
  caller: Caller,
  { vault: name, kind, limit, cursor }: { vault: string; kind?: EventKind | undefined } & PageRequest,
): Promise<Audited<Page<VaultEvent>>> {
  const allowed = await authorize(ctx, caller, 'vault.events', { vault: name });
  const { vault, rule } = allowed;
  const page = await pageOfEvents(ctx, { vaultId: vault.id, kind, limit, cursor });
  const resource = { vault: vault.name, vaultId: vault.id, count: page.items.length };
  return audited(ctx, caller, [allowed], { action: 'event.list', rule, resource }, () => page);
}

/** The events of the system itself, the newest first: for admins, and for oversight. */
export async function listSystemEvents(
  ctx: VaultContext,
  caller: Caller,
  { kind, limit, cursor }: { kind?: EventKind | undefined } & PageRequest,
): Promise<Audited<Page<VaultEvent>>> {
  const right = authorizeSystem(ctx, caller, 'event.read');
  const page = await pageOfEvents(ctx, { vaultId: SYSTEM_VAULT_ID, kind, limit, cursor });
  return audited(
    ctx,
    caller,
    [right],
    { action: 'event.list', rule: right.rule, resource: { count: page.items.length } },
    () => page,
  );
}

async function pageOfEvents(
  ctx: VaultContext,
  { vaultId, kind, limit, cursor }: { vaultId: string; kind: EventKind | undefined } & PageRequest,
): Promise<Page<VaultEvent>> {
  const list: ListId = ['events', vaultId, kind];
  const [before] = fromCursor(list, cursor, ['']);
  const rows = await listEventRows(ctx.db, { vaultId, kind, before, limit: limit + 1 });
  return pageOf(list, rows.map(toEvent), limit, ({ id }) => [id]);
}

/** Deletes events after 90 days. */
export async function sweepEvents(ctx: Pick<VaultContext, 'db' | 'now'>, run: JobRun): Promise<void> {
  const before = ctx.now().getTime() - KEPT_MS;
  await removePages(ctx, run, (tx, limit) => removeEventsBefore(tx, { before, limit }));
}

/** Deletes a page of the events of a deleted vault; see `ClearVault`. */
export async function clearEvents(
  tx: Transaction,
  { vaultId, after }: { vaultId: string; after: string },
): Promise<string | undefined> {
  return removeEventsOf(tx, { vaultId, after, limit: CLEAR_PAGE });
}

function toEvent({ id, kind, payload, created_at: createdAt }: EventRow): VaultEvent {
  // The payload was checked when it was written, and is checked again when it leaves.
  return { id, kind, payload: JSON.parse(payload), createdAt: new Date(createdAt).toISOString() } as VaultEvent;
}
