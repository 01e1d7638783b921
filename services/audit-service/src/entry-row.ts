import type { AuditEvent } from '@cardea/contracts/audit-event';
import { AuditEntry } from '@cardea/contracts/audit-api';
import { chainHash, leafHash } from '@cardea/crypto/hash-chain';
import type { z } from 'zod';

/** A row of `audit_entry`. */
export interface EntryRow {
  seq: number;
  event_id: string;
  prev: Uint8Array;
  entry: Uint8Array;
  chain: Uint8Array;
  leaf: Uint8Array;
  written_at: string;
  action: string;
  decision: string;
  actor_id: string;
  actor_name: string | null;
  vault: string | null;
}

/** What the log adds to an event, as `encodeEntryAround` takes it. */
export interface Frame {
  prev: Uint8Array;
  seq: number;
  writtenAt: string;
}

/** The row of an entry that was just written. */
export function toRow(event: AuditEvent, frame: Frame, entry: Uint8Array): EntryRow {
  return {
    seq: frame.seq,
    event_id: event.id,
    prev: frame.prev,
    entry,
    chain: chainHash(entry),
    leaf: leafHash(entry),
    written_at: frame.writtenAt,
    action: event.action,
    decision: event.decision,
    actor_id: event.actor.id,
    actor_name: event.actor.name ?? null,
    vault: event.resource?.vault ?? null,
  };
}

/** The row again, from nothing but the stored bytes. @throws SyntaxError, ZodError if they are no entry */
export function deriveRow(bytes: Uint8Array): EntryRow {
  const { event, prev, seq, writtenAt } = parseEntry(bytes);
  return toRow(event, { prev: Buffer.from(prev, 'hex'), seq, writtenAt }, bytes);
}

/** The columns in which two rows differ. */
export function differences(a: EntryRow, b: EntryRow): string[] {
  return (Object.keys(a) as (keyof EntryRow)[]).filter((column) => !same(a[column], b[column]));
}

/** @throws SyntaxError, ZodError */
export function parseEntry(bytes: Uint8Array): z.output<typeof AuditEntry> {
  return AuditEntry.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
}

function same(a: EntryRow[keyof EntryRow], b: EntryRow[keyof EntryRow]): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return a === b;
}
