import { canonicalize } from './canonical-json.ts';
import { toHex } from './encoding.ts';
import { sha256 } from './ids.ts';

/** The limit of the bytes of one entry. */
export const ENTRY_BYTES_MAX = 16_384;

const HASH_BYTES = 32;
const ENTRY_VERSION = 1;
const PEER = /^[a-z][a-z0-9-]{0,62}$/;
const AUDIT_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
const GENESIS_DOMAIN = 'cardea/audit/genesis/v1\n';
const CHAIN_DOMAIN = Buffer.from('cardea/audit/chain/v1\n');
const LEAF_PREFIX = Buffer.of(0x00);
const NODE_PREFIX = Buffer.of(0x01);

/** The fields that the log adds to an event. */
export interface EntryFrame {
  /** The origin of the log. */
  log: string;
  /** The service that submitted the event, by the name in its certificate: `api-service`. */
  peer: string;
  /** The chain hash of the previous entry, or the genesis: 32 bytes. */
  prev: Uint8Array;
  /** The position in the log: from 0, without gaps. */
  seq: number;
  /** `2026-11-22T06:27:31.000000Z`: UTC with six decimals. */
  writtenAt: string;
}

/** An entry of more than ENTRY_BYTES_MAX bytes. */
export class EntryTooLarge extends Error {
  override name = 'EntryTooLarge';
}

/** `prev` of entry 0: SHA-256(domain ‖ origin ‖ LF ‖ publicKey[32]). Binds the chain to one log and one key. */
export function genesis(origin: string, publicKey: Uint8Array): Uint8Array {
  assertHashLength('a public key', publicKey);
  return sha256(Buffer.concat([Buffer.from(`${GENESIS_DOMAIN}${origin}\n`), publicKey]));
}

/** A link of the hash chain: SHA-256(domain ‖ entry) over the exact stored bytes. */
export function chainHash(entry: Uint8Array): Uint8Array {
  return sha256(Buffer.concat([CHAIN_DOMAIN, entry]));
}

/** A leaf of the tree: SHA-256(0x00 ‖ entry), RFC 6962 section 2.1. */
export function leafHash(entry: Uint8Array): Uint8Array {
  return sha256(Buffer.concat([LEAF_PREFIX, entry]));
}

/** A node of the tree: SHA-256(0x01 ‖ left ‖ right), RFC 6962 section 2.1. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(Buffer.concat([NODE_PREFIX, left, right]));
}

/**
 * Writes an entry as UTF-8 of its canonical JSON.
 * @throws CanonicalJsonError for an event outside the profile, EntryTooLarge, RangeError for an invalid frame
 */
export function encodeEntry(entry: EntryFrame & { event: unknown }): Uint8Array {
  return encodeEntryAround(canonicalize(entry.event), entry);
}

/**
 * Writes the same bytes for an event that is already canonical text. The text is not checked again: a text that
 * `canonicalize` did not write makes an entry that every verifier refuses.
 */
export function encodeEntryAround(canonicalEvent: string, frame: EntryFrame): Uint8Array {
  assertFrame(frame);
  const prev = toHex(frame.prev);
  const log = canonicalize(frame.log);
  // The keys are in the order of RFC 8785.
  const text = `{"event":${canonicalEvent},"log":${log},"peer":"${frame.peer}","prev":"${prev}","seq":${frame.seq},"v":${ENTRY_VERSION},"writtenAt":"${frame.writtenAt}"}`;
  const entry = Buffer.from(text);
  if (entry.length > ENTRY_BYTES_MAX) throw new EntryTooLarge(`an entry has at most ${ENTRY_BYTES_MAX} bytes`);
  return entry;
}

function assertFrame(frame: EntryFrame): void {
  assertHashLength('a chain hash', frame.prev);
  if (!PEER.test(frame.peer)) throw new RangeError('peer is the name of a service');
  if (!Number.isSafeInteger(frame.seq) || frame.seq < 0) throw new RangeError('seq is an integer from 0 to 2^53-1');
  if (!AUDIT_TIME.test(frame.writtenAt)) throw new RangeError('writtenAt is a UTC time with six decimals');
}

function assertHashLength(what: string, bytes: Uint8Array): void {
  if (bytes.length !== HASH_BYTES) throw new RangeError(`${what} has ${HASH_BYTES} bytes`);
}
