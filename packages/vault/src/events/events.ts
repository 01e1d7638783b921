import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { eventPayloads } from '@cardea/contracts/events';
import type { EventKind, EventPayload, VaultEvent } from '@cardea/contracts/events';
import { uuidv7 } from '@cardea/crypto/ids';
import type { Transaction } from '@cardea/storage/db';
import { authorize } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { DAY_MS } from '../durations.ts';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { audited } from '../record.ts';
import { insertEvent, listEventRows, removeEventsBefore, removeEventsOf } from './event-store.ts';
import type { EventRow } from './event-store.ts';

const KEPT_MS = 90 * DAY_MS;
const SWEEP_PAGE = 1_000;

/** Something that the owners of a vault should know. */
export interface NewEvent<K extends EventKind> {
  vaultId: string;
  kind: K;
  payload: EventPayload<K>;
  /** Milliseconds since 1970. */
  at: number;
}

/** Writes an event in the transaction of the change that it reports. @throws ZodError for a payload of another kind */
export async function addEvent<K extends EventKind>(tx: Transaction, event: NewEvent<K>): Promise<void> {
  const { vaultId, kind, payload, at } = event;
  // The parser refuses fields that the contract does not name: a read would refuse them, and they may be confidential.
  const checked = JSON.stringify(eventPayloads[kind].parse(payload));
  await insertEvent(tx, { id: uuidv7(at), vault_id: vaultId, kind, payload: checked, created_at: at });
}

/** The events of a vault, the newest first: for owners, and for oversight. */
export async function listEvents(
  ctx: VaultContext,
  caller: Caller,
  { vault: name, kind, limit, cursor = '' }: { vault: string; kind?: EventKind | undefined } & PageRequest,
): Promise<Audited<Page<VaultEvent>>> {
  const { vault, rule } = await authorize(ctx, caller, 'vault.events', { vault: name });
  const rows = await listEventRows(ctx.db, { vaultId: vault.id, kind, before: cursor, limit: limit + 1 });
  const page = pageOf(rows.map(toEvent), limit, ({ id }) => id);
  const resource = { vault: vault.name, vaultId: vault.id, count: page.items.length };
  return audited(ctx, caller, { action: 'event.list', rule, resource }, () => page);
}

/** Deletes events after 90 days, page by page, so that no other writer waits for long. */
export async function sweepEvents(ctx: Pick<VaultContext, 'db' | 'now'>): Promise<void> {
  const before = ctx.now().getTime() - KEPT_MS;
  let removed: number;
  do {
    removed = await ctx.db.transaction((tx) => removeEventsBefore(tx, { before, limit: SWEEP_PAGE }));
  } while (removed === SWEEP_PAGE);
}

/** Deletes a page of the events of a deleted vault; see `ClearVault`. */
export async function clearEvents(
  tx: Transaction,
  { vaultId, after }: { vaultId: string; after: string },
): Promise<string | undefined> {
  return removeEventsOf(tx, { vaultId, after, limit: SWEEP_PAGE });
}

function toEvent({ id, kind, payload, created_at: createdAt }: EventRow): VaultEvent {
  // The payload was checked when it was written, and is checked again when it leaves.
  return { id, kind, payload: JSON.parse(payload), createdAt: new Date(createdAt).toISOString() } as VaultEvent;
}
