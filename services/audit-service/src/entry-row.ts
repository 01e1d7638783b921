import type { AuditEvent } from '@cardea/contracts/audit-event';
import { AuditEntry } from '@cardea/contracts/audit-api';
import { toText } from '@cardea/crypto/encoding';
import { leafHash } from '@cardea/crypto/hash-chain';
import type { z } from 'zod';

/** A parsed entry. */
export type Entry = z.output<typeof AuditEntry>;

/** A row of `audit_entry`. */
export interface EntryRow {
  seq: number;
  event_id: string;
  entry: Uint8Array;
  leaf: Uint8Array;
  written_at: string;
}

/** The position of an entry in the log, and when it was written. */
export interface EntryPosition {
  seq: number;
  writtenAt: string;
}

/** Makes the row of a new entry. */
export function toRow({ id }: AuditEvent, { seq, writtenAt }: EntryPosition, entry: Uint8Array): EntryRow {
  return { seq, event_id: id, entry, leaf: leafHash(entry), written_at: writtenAt };
}

/** Parses the bytes of an entry. @throws SyntaxError, ZodError or TypeError if they are not an entry */
export type ParseEntry = (bytes: Uint8Array) => Entry;

/**
 * Makes the row again from the stored bytes alone. Also returns the previous chain hash that the bytes name, in hex,
 * and the event.
 * @throws what `parse` throws; TypeError
 */
export function deriveRow(bytes: Uint8Array, parse: ParseEntry): { row: EntryRow; prev: string; event: AuditEvent } {
  const { event, prev, ...position } = parse(bytes);
  return { row: toRow(event, position, bytes), prev, event };
}

/** The columns in which two rows differ. */
export function differences(a: EntryRow, b: EntryRow): string[] {
  return (Object.keys(a) as (keyof EntryRow)[]).filter((column) => !same(a[column], b[column]));
}

/** Parses an entry and checks it against the schema. @throws SyntaxError, ZodError */
export function parseEntry(bytes: Uint8Array): Entry {
  return AuditEntry.parse(JSON.parse(toText(bytes, 'utf8')));
}

/** Parses an entry that passed the schema before: when it was appended, or at a start. @throws SyntaxError */
export function parseEntryUnchecked(bytes: Uint8Array): Entry {
  return JSON.parse(toText(bytes, 'utf8')) as Entry;
}

function same(a: EntryRow[keyof EntryRow], b: EntryRow[keyof EntryRow]): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return a === b;
}
