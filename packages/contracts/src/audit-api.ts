import { z } from 'zod';
import { AuditEvent, AuditTime } from './audit-event.ts';
import { endpoint } from './endpoint.ts';
import { Base64, WholeNumber, WholeNumberOr } from './names.ts';

/** The most events one append may carry. */
export const APPEND_EVENTS_MAX = 256;

const Receipt = z.strictObject({ id: z.uuid(), seq: z.int().min(0), leaf: Base64 });

/**
 * The body of an append must be in canonical form (JCS, RFC 8785). The service parses it, writes it again and compares
 * the bytes. So a duplicate key, a rounded number or an unsorted object is refused and never silently lost.
 */
export const appendEvents = endpoint({
  method: 'POST',
  path: '/v1/append',
  action: 'audit.append',
  summary: 'Append events to the log. Answers once they are on disk.',
  auth: 'peer',
  statuses: [200],
  params: z.undefined(),
  query: z.strictObject({}),
  body: z.strictObject({ batchId: z.uuid(), events: z.array(AuditEvent).min(1).max(APPEND_EVENTS_MAX) }),
  response: z.strictObject({ items: z.array(Receipt), size: z.int().positive() }),
});

/** The filters of the log. The range of times includes its start and excludes its end. */
export const EntryQuery = z.strictObject({
  from: z.iso.datetime().optional(),
  to: z.iso.datetime().optional(),
  actor: z.string().max(256).optional(),
  action: z.string().max(64).optional(),
  vault: z.string().max(64).optional(),
  decision: z.enum(['allow', 'deny']).optional(),
  limit: WholeNumberOr(100, { min: 1, max: 500 }),
  cursor: z
    .string()
    .regex(/^\d{1,16}$/, 'must be the nextCursor of an earlier page')
    .optional(),
});

export type EntryQuery = z.output<typeof EntryQuery>;

/** A parsed entry with its position in the log. */
export const AuditEntry = z.strictObject({
  event: AuditEvent,
  log: z.string(),
  /** The name in the certificate of the service that submitted the event. */
  peer: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/),
  prev: z.string(),
  seq: z.int().min(0),
  v: z.literal(1),
  writtenAt: AuditTime,
});

export const EntryPage = z.strictObject({
  items: z.array(AuditEntry),
  nextCursor: z.string().optional(),
});

export type EntryPage = z.output<typeof EntryPage>;

export const listEntries = endpoint({
  method: 'GET',
  path: '/v1/entries',
  action: 'audit.read',
  summary: 'List entries of the audit log, the newest first.',
  auth: 'peer',
  statuses: [200],
  params: z.undefined(),
  query: EntryQuery,
  body: z.undefined(),
  response: EntryPage,
});

/** A C2SP tlog-checkpoint in a signed note, as text. */
export const readCheckpoint = endpoint({
  method: 'GET',
  path: '/v1/checkpoint',
  action: 'audit.read',
  summary: 'Read the newest signed checkpoint of the audit log.',
  auth: 'peer',
  statuses: [200],
  params: z.undefined(),
  query: z.strictObject({}),
  body: z.undefined(),
  response: z.string(),
});

/** A range of positions that includes its start and excludes its end. If neither is given, the whole log. */
export const ExportRange = z.strictObject({
  from: WholeNumberOr(0, { min: 0, max: Number.MAX_SAFE_INTEGER }),
  to: WholeNumber({ min: 1, max: Number.MAX_SAFE_INTEGER }).optional(),
});

export const exportEntries = endpoint({
  method: 'GET',
  path: '/v1/export',
  action: 'audit.export',
  summary: 'Export the audit log as a tar: the exact bytes of the entries, a checkpoint and a manifest.',
  auth: 'peer',
  statuses: [200],
  params: z.undefined(),
  query: ExportRange,
  body: z.undefined(),
  response: z.instanceof(Uint8Array),
});
