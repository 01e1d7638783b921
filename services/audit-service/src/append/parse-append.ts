import { appendEvents } from '@cardea/contracts/audit-api';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import { AppError } from '@cardea/contracts/errors';
import { CanonicalJsonError, canonicalize } from '@cardea/crypto/canonical-json';
import { ENTRY_BYTES_MAX } from '@cardea/crypto/hash-chain';
import type { z } from 'zod';

/** An event with its canonical text, which is hashed and stored. */
export interface CanonicalEvent {
  id: string;
  /** Canonical JSON (RFC 8785). */
  text: string;
  event: AuditEvent;
}

export interface AppendRequest {
  batchId: string;
  events: CanonicalEvent[];
}

/**
 * The bytes of an entry for its event. `log` (at most 512), `peer`, `prev`, `seq`, `v` and `writtenAt` fit in the rest.
 */
export const EVENT_BYTES_MAX = ENTRY_BYTES_MAX - 1024;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads the body of an append. The body must be in canonical form: it is written again and refused if one byte differs.
 * That costs one canonicalisation and excludes duplicate keys and rounded numbers.
 * @throws AppError `invalid_request`; `too_large` for an event of more than EVENT_BYTES_MAX bytes
 */
export function parseAppend(body: Uint8Array): AppendRequest {
  const text = decode(body);
  const { batchId, events } = parseBody(text);
  const canonical = events.map(toCanonicalEvent);
  const rewritten = `{"batchId":${JSON.stringify(batchId)},"events":[${canonical.map((event) => event.text).join(',')}]}`;
  if (rewritten !== text) throw malformed('the body is not in canonical form (RFC 8785)');
  return { batchId, events: canonical };
}

function decode(body: Uint8Array): string {
  try {
    return utf8.decode(body);
  } catch (cause) {
    throw malformed('the body is not UTF-8', cause);
  }
}

function parseBody(text: string): { batchId: string; events: AuditEvent[] } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed('the body is not valid JSON', cause);
  }
  const parsed = appendEvents.body.safeParse(value);
  // Takes the parsed JSON and not zod's copy, because its keys are in the order of the text. Both are equal as long as
  // every object of the schema is strict and no field has a default or a transform.
  if (parsed.success) return value as z.output<typeof appendEvents.body>;
  const errors = parsed.error.issues.slice(0, 20).map(({ path, message }) => ({ path: path.join('.'), message }));
  throw new AppError('invalid_request', 'the body is not a batch of events', { errors });
}

/** Writes an event in its canonical form. @throws AppError `invalid_request`, `too_large` */
export function toCanonicalEvent(event: AuditEvent): CanonicalEvent {
  const text = canonicalText(event);
  if (Buffer.byteLength(text) > EVENT_BYTES_MAX) {
    throw new AppError('too_large', `an event has at most ${EVENT_BYTES_MAX} bytes`);
  }
  return { id: event.id, text, event };
}

function canonicalText(event: AuditEvent): string {
  try {
    return canonicalize(event);
  } catch (cause) {
    if (cause instanceof CanonicalJsonError) throw malformed(`an event cannot be written: ${cause.message}`, cause);
    throw cause;
  }
}

function malformed(message: string, cause?: unknown): AppError {
  return new AppError('invalid_request', message, { cause, suspicious: 'malformed_append' });
}
