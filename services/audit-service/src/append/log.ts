import { EventEmitter, once } from 'node:events';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import { formatMicros, parseMicros } from '@cardea/contracts/audit-time';
import { AppError } from '@cardea/contracts/errors';
import { toAuditEvent } from '@cardea/contracts/to-audit-event';
import { toBase64, toHex } from '@cardea/crypto/encoding';
import { chainHash, encodeEntryAround, genesis } from '@cardea/crypto/hash-chain';
import { uuidv7 } from '@cardea/crypto/ids';
import { StartError } from '@cardea/process/config';
import { DbUnavailable, DiskFull } from '@cardea/storage/db';
import type { Db, Transaction } from '@cardea/storage/db';
import { parseEntry, toRow } from '../entry-row.ts';
import type { EntryRow } from '../entry-row.ts';
import {
  findEntriesByIds,
  insertCompletedTiles,
  insertEntries,
  moveHead,
  readEntryBytes,
  readGreatestId,
  readHead,
} from '../entry-store.ts';
import type { Head, KnownEntry } from '../entry-store.ts';
import { toCanonicalEvent } from './parse-append.ts';
import type { CanonicalEvent } from './parse-append.ts';

/** The identity of a log. The genesis binds both fields. */
export interface LogIdentity {
  origin: string;
  /** The public key of its checkpoints, 32 bytes. */
  publicKey: Uint8Array;
  /** Milliseconds since 1970. */
  now(): number;
}

/** The peer of the events that the log appends itself. */
export const LOG_ITSELF = 'audit-service';

/** An event with the service that submitted it. */
export interface Submission {
  event: CanonicalEvent;
  peer: string;
}

/** The position of an event, with `leaf` in base64; or a conflict, if another event already has its id. */
export type Outcome = { id: string; seq: number; leaf: string } | { id: string; conflict: true };

/** The one writer of the log. */
export interface AuditStore {
  /**
   * Appends a batch in one transaction. Resolves once it is on disk, with one outcome for each event, in order. An
   * event that the log already has is not appended again. An event with a known id and other content is refused, and
   * the conflict is recorded.
   * @throws AppError `unavailable` if nothing was written; FatalLogError, after which the process must end
   */
  append(batch: Submission[]): Promise<{ items: Outcome[]; size: number }>;
  /** How many entries the log has. */
  size(): number;
  /** For those who ask whether the log takes records. @throws AppError while the last append found no room */
  refuseIfFull(): void;
  /** Resolves once the log has more entries, or at the end. */
  whenLonger(size: number, end: AbortSignal): Promise<void>;
}

/** For so long after an append without room the log counts as full. The next append then tries. */
const FULL_MS = 1_000;

/** The answer while the disk of the log has no room. Its status tells a service that another try at once does not help. */
export function diskFull(cause?: unknown): AppError {
  const message = 'the disk of the audit log is full';
  return new AppError('unavailable', message, { cause, rule: 'disk-full', status: 507, retryAfterSeconds: 30 });
}

/** Memory and disk may disagree, or another process writes. Only a new start from disk may continue (I5). */
export class FatalLogError extends Error {
  override name = 'FatalLogError';
}

/** The end of the log as last seen on disk. */
interface Tail extends Head {
  writtenAtMicros: number;
  /** The greatest event id in the log, in text order, or '' for an empty log. */
  greatestId: string;
}

/**
 * Reads the end of the log from disk and becomes its writer. An empty log begins with the genesis of this identity.
 * @throws StartError if the database holds another log, or its end does not fit its head
 */
export async function openLog(db: Db, identity: LogIdentity): Promise<AuditStore> {
  await beginIfEmpty(db, identity);
  // Only a check. Every transaction reads the head from disk. If it has moved, another process moved it.
  let tail = await readTail(db, identity);
  let fullUntil = -Infinity;
  const growth = new EventEmitter();
  // Each caller who follows the log is a listener.
  growth.setMaxListeners(0);

  return {
    size: () => tail.size,
    refuseIfFull() {
      if (performance.now() < fullUntil) throw diskFull();
    },
    async whenLonger(size, end) {
      if (tail.size > size || end.aborted) return;
      // Only the end rejects.
      await once(growth, 'grown', { signal: end }).catch(() => undefined);
    },
    async append(batch) {
      try {
        // Without locks: `moveHead` compares, so of two processes that append at once, one moves the head and one ends.
        const { items, end } = await db.lockingTransaction({}, (tx) =>
          appendBatch(tx, db.engine, identity, tail, batch),
        );
        tail = end;
        growth.emit('grown');
        return { items, size: end.size };
      } catch (error) {
        if (error instanceof DiskFull) {
          fullUntil = performance.now() + FULL_MS;
          throw diskFull(error);
        }
        if (error instanceof DbUnavailable) {
          throw new AppError('unavailable', 'the database of the audit log does not answer', { cause: error });
        }
        if (error instanceof FatalLogError) throw error;
        throw new FatalLogError('a batch may or may not be on disk', { cause: error });
      }
    },
  };
}

async function beginIfEmpty(db: Db, { origin, publicKey }: LogIdentity): Promise<void> {
  await db.query('update audit_head set chain = $1 where id = 1 and size = 0', [genesis(origin, publicKey)]);
}

async function readTail(db: Db, { origin, publicKey }: LogIdentity): Promise<Tail> {
  const head = await readHead(db);
  if (head.size === 0) return { ...head, writtenAtMicros: 0, greatestId: '' };

  const [first] = await readEntryBytes(db, 0, 1);
  const [last, ...beyond] = await readEntryBytes(db, head.size - 1, head.size + 1);
  if (!first || parseEntry(first).prev !== toHex(genesis(origin, publicKey))) {
    throw new StartError(
      `The audit database does not hold the log ${origin} of this signing key: set CARDEA_AUDIT_ORIGIN as it was, or restore the signing key.`,
    );
  }
  if (!last || beyond.length > 0 || toHex(chainHash(last)) !== toHex(head.chain)) {
    throw new StartError(
      `The audit database is damaged: its head says ${head.size} entries, but the last entry does not match. Restore a backup.`,
    );
  }
  // Read after the head. If another process appends in between, the check of the head finds it, so no id is missed.
  const greatestId = await readGreatestId(db);
  return { ...head, writtenAtMicros: parseMicros(parseEntry(last).writtenAt), greatestId };
}

async function appendBatch(
  tx: Transaction,
  engine: Db['engine'],
  identity: LogIdentity,
  expected: Tail,
  batch: Submission[],
): Promise<{ items: Outcome[]; end: Tail }> {
  const draft = new Draft(identity, expected, await findKnown(tx, engine, expected, batch));
  const items = batch.map((submission) => draft.take(submission));
  // Sent at once, and looked at in order: if another process writes this log, that explains whatever else fails.
  const [checked, stored] = await Promise.allSettled([
    requireHead(tx, expected),
    draft.rows.length === 0 ? undefined : store(tx, engine, expected, draft),
  ]);
  if (checked.status === 'rejected') throw checked.reason;
  if (stored.status === 'rejected') throw stored.reason;
  return { items, end: draft.end };
}

async function requireHead(tx: Transaction, expected: Tail): Promise<void> {
  const head = await readHead(tx);
  if (head.size === expected.size && toHex(head.chain) === toHex(expected.chain)) return;
  throw new FatalLogError(`the head is at ${head.size} and not at ${expected.size}: another process writes this log`);
}

async function store(tx: Transaction, engine: Db['engine'], from: Head, { rows, end }: Draft): Promise<void> {
  const stored = insertEntries(tx, engine, rows);
  // A tile is made of entries that are stored.
  const tiled = stored.then(() => insertCompletedTiles(tx, from.size, end.size));
  const [isMoved] = await Promise.all([moveHead(tx, from, end), tiled]);
  if (!isMoved) throw new FatalLogError('another process moved the head');
}

/**
 * Finds the entries that already have one of these ids. Ids begin with their time, so nearly every new id is greater
 * than all ids in the log. Only the others are looked up. If one were missed, the unique key would stop the log.
 */
async function findKnown(
  tx: Transaction,
  engine: Db['engine'],
  { greatestId }: Tail,
  batch: Submission[],
): Promise<KnownEntry[]> {
  const ids = batch.map(({ event }) => event.id).filter((id) => id <= greatestId);
  return ids.length === 0 ? [] : findEntriesByIds(tx, engine, ids);
}

/** The entries of one transaction before they are stored. */
class Draft {
  readonly rows: EntryRow[] = [];
  end: Tail;

  readonly #identity: LogIdentity;
  readonly #nowMicros: number;
  readonly #known: Map<string, Pick<KnownEntry, 'seq' | 'entry' | 'leaf'>>;

  constructor(identity: LogIdentity, from: Tail, known: KnownEntry[]) {
    this.end = from;
    this.#identity = identity;
    this.#nowMicros = identity.now() * 1000;
    this.#known = new Map(known.map((row) => [row.event_id, row]));
  }

  take({ event, peer }: Submission): Outcome {
    const known = this.#known.get(event.id);
    if (known && holds(known.entry, event)) return receipt(event.id, known);
    if (known) {
      this.#add(toCanonicalEvent(this.#conflict(event, peer)), LOG_ITSELF);
      return { id: event.id, conflict: true };
    }
    return receipt(event.id, this.#add(event, peer));
  }

  #add(event: CanonicalEvent, peer: string): EntryRow {
    const { size, chain, writtenAtMicros, greatestId } = this.end;
    // The time never goes backwards, even if the clock does.
    const micros = Math.max(writtenAtMicros + 1, this.#nowMicros);
    const position = { seq: size, writtenAt: formatMicros(micros) };
    const entry = encodeEntryAround(event.text, { log: this.#identity.origin, peer, prev: chain, ...position });
    const row = toRow(event.event, position, entry);
    this.rows.push(row);
    this.#known.set(event.id, row);
    this.end = {
      size: size + 1,
      chain: chainHash(entry),
      writtenAtMicros: micros,
      greatestId: event.id > greatestId ? event.id : greatestId,
    };
    return row;
  }

  #conflict(event: CanonicalEvent, peer: string): AuditEvent {
    const at = Math.floor(this.#nowMicros / 1000);
    const actor = { id: peer, type: 'service' } as const;
    const facts = {
      action: 'audit.conflict',
      decision: 'deny',
      reason: 'the log has another event with this id',
      resource: { name: event.id },
      suspicious: 'event_id_reused',
    } as const;
    return toAuditEvent({ actor }, facts, { id: uuidv7(at), at });
  }
}

// A canonical object has one end, so an entry that begins with this text contains exactly this event.
function holds(entry: Uint8Array, event: CanonicalEvent): boolean {
  const start = Buffer.from(`{"event":${event.text},"log":`);
  return start.equals(entry.subarray(0, start.length));
}

function receipt(id: string, row: Pick<KnownEntry, 'seq' | 'leaf'>): Outcome {
  return { id, seq: row.seq, leaf: toBase64(row.leaf) };
}
