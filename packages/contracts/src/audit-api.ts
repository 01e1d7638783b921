import { z } from 'zod';
import { AuditEvent, AuditTime } from './audit-event.ts';
import { endpoint } from './endpoint.ts';
import { Base64, QueryText, WholeNumber, WholeNumberOr } from './names.ts';

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

/** A moment of a range: a time, or a date for its first moment. */
const Moment = z.union(
  [z.iso.datetime(), z.iso.date()],
  'must be a time in UTC, like 2030-01-31T12:00:00Z, or a date, like 2030-01-31 (numbers of entries are fromSeq and toSeq)',
);

/** The number of an entry in the log. */
const Position = WholeNumber({ min: 0, max: Number.MAX_SAFE_INTEGER });

/**
 * A part of the log, by times and by numbers of entries. Each range includes its start and excludes its end. If nothing
 * is given, the whole log.
 */
export const LogRange = z.strictObject({
  from: Moment.optional(),
  to: Moment.optional(),
  fromSeq: Position.optional(),
  toSeq: Position.optional(),
});

export type LogRange = z.output<typeof LogRange>;

/** The longest wait for a new entry, in seconds. */
export const WAIT_SECONDS_MAX = 30;

/** Which entries to list, and how. An entry must match all filters. */
export const EntryQuery = z.strictObject({
  ...LogRange.shape,
  /** One entry. */
  seq: Position.optional(),
  /** `user:alice`, `application:<id>`, or a name or id that only one type of actor has. */
  actor: QueryText({ max: 256 }).optional(),
  action: QueryText({ max: 64 }).optional(),
  /** The name or the id of a vault. Of a move: one of both. */
  vault: QueryText({ max: 64 }).optional(),
  /** The name of what an action was about, such as a secret or a key. */
  name: QueryText({ max: 1024 }).optional(),
  /** The name of a key. */
  key: QueryText({ max: 128 }).optional(),
  requestId: QueryText({ max: 128 }).optional(),
  decision: z.enum(['allow', 'deny']).optional(),
  /** The rule that was tripped, or `any`. */
  suspicious: QueryText({ max: 64 }).optional(),
  /** The default is `newest`, and `oldest` with `after`. */
  order: z.enum(['newest', 'oldest']).optional(),
  limit: WholeNumberOr(100, { min: 1, max: 500 }),
  cursor: z
    .string()
    .regex(/^\d{0,16}$/, 'must be the nextCursor of an earlier page')
    .optional(),
  /** Lists what follows this entry, the oldest first. */
  after: Position.optional(),
  /** With `after`: waits so long for an entry, if there is none. */
  waitSeconds: WholeNumber({ min: 1, max: WAIT_SECONDS_MAX }).optional(),
});

export type EntryQuery = z.output<typeof EntryQuery>;

/** A question of api-service. `vaultId` limits it to one vault, for an owner. */
export const InternalEntryQuery = EntryQuery.extend({ vaultId: z.uuid().optional() });

export type InternalEntryQuery = z.output<typeof InternalEntryQuery>;

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

/**
 * A page of entries. It may be short, or empty, and still have a `nextCursor`: one call looks at a limited part of the
 * log. With `after`, it has `nextAfter` instead, to be sent as `after` of the next call.
 */
export const EntryPage = z.strictObject({
  items: z.array(AuditEntry),
  nextCursor: z.string().optional(),
  nextAfter: z.int().optional(),
});

export type EntryPage = z.output<typeof EntryPage>;

/**
 * Why a question has no answer: the parameter of the query, and a message about it. `unknown` if the log has nothing of
 * that name. It may be too new for the log.
 */
const RefusedQuestion = z.strictObject({ parameter: z.string(), message: z.string(), unknown: z.boolean() });

export type RefusedQuestion = z.output<typeof RefusedQuestion>;

/** What audit-service answers. api-service refuses what it refuses, with a record that names the caller. */
const EntryAnswer = EntryPage.extend({ refused: RefusedQuestion.optional() });

export type EntryAnswer = z.output<typeof EntryAnswer>;

export const listEntries = endpoint({
  method: 'GET',
  path: '/v1/entries',
  action: 'audit.read',
  summary: 'List entries of the audit log, the newest first.',
  auth: 'peer',
  statuses: [200],
  params: z.undefined(),
  query: InternalEntryQuery,
  body: z.undefined(),
  response: EntryAnswer,
});

/** Hashes of the tree from a leaf, or from an older root, to the root. */
const Hashes = z.array(Base64).max(64);

/** The number of entries of a tree. */
const TreeSize = WholeNumber({ min: 1, max: Number.MAX_SAFE_INTEGER });

/** Shows that the entry `seq` is one of the first `size`, RFC 6962 section 2.1.1. `leaf` is its leaf hash. */
export const InclusionProof = z.strictObject({
  seq: z.int().min(0),
  size: z.int().min(1),
  leaf: Base64,
  hashes: Hashes,
});

/** Shows that the first `to` entries begin with the first `from`, RFC 6962 section 2.1.2. */
export const ConsistencyProof = z.strictObject({ from: z.int().min(1), to: z.int().min(1), hashes: Hashes });

const proofs = { method: 'GET', action: 'audit.read', auth: 'peer', statuses: [200] } as const;
const noBody = { params: z.undefined(), body: z.undefined() };
const refusable = <T extends z.ZodType>(proof: T) =>
  z.strictObject({ proof: proof.optional(), refused: RefusedQuestion.optional() });

/** Without `size`, the proof is for the newest checkpoint. */
export const proveInclusion = endpoint({
  ...proofs,
  ...noBody,
  path: '/v1/proofs/inclusion',
  summary: 'Prove that an entry is in the audit log, for a checkpoint of `size` entries or for the newest one.',
  query: z.strictObject({ seq: Position, size: TreeSize.optional() }),
  response: refusable(InclusionProof),
});

/** Without `to`, the proof is for the newest checkpoint. */
export const proveConsistency = endpoint({
  ...proofs,
  ...noBody,
  path: '/v1/proofs/consistency',
  summary: 'Prove that the audit log of a checkpoint of `to` entries, or of the newest one, continues that of `from`.',
  query: z.strictObject({ from: TreeSize, to: TreeSize.optional() }),
  response: refusable(ConsistencyProof),
});

/** What a receipt holds. */
export const ReceiptQuery = z.strictObject({ seq: Position, leaf: Base64.length(44, 'must be a hash in base64') });

/** A C2SP tlog-proof as text: the proof of inclusion with the newest checkpoint. */
export const proveReceipt = endpoint({
  ...proofs,
  ...noBody,
  path: '/v1/proofs/receipt',
  summary:
    'Turn the receipt of an answer into a proof that stands alone (c2sp.org/tlog-proof). Every caller who has signed in ' +
    'and has the receipt may.',
  query: ReceiptQuery,
  response: refusable(z.string()),
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

export const exportEntries = endpoint({
  method: 'GET',
  path: '/v1/export',
  action: 'audit.export',
  summary: 'Export the audit log as a tar: the exact bytes of the entries, a checkpoint and a manifest.',
  auth: 'peer',
  statuses: [200],
  params: z.undefined(),
  query: LogRange,
  body: z.undefined(),
  response: z.instanceof(Uint8Array),
});
