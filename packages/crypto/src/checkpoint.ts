import { createPrivateKey, createPublicKey, randomBytes, sign, verify } from 'node:crypto';
import { parseBase64, toBase64, toHex } from './encoding.ts';
import { constantTimeEqual, sha256 } from './ids.ts';

const ED25519 = 0x01;
const KEY_BYTES = 32;
const KEY_ID_BYTES = 4;
const SIGNATURE_BYTES = 64;
const ROOT_BYTES = 32;
const NOTE_CHARS_MAX = 65_536;
// The constant first bytes of the DER of an Ed25519 key, RFC 8410 sections 4 and 7.
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const SIGNATURE_LINE = /^— ([^\s+]+) ([A-Za-z0-9+/]+=*)$/u;
const SIZE = /^(?:0|[1-9]\d{0,15})$/;
// eslint-disable-next-line no-control-regex
const ORIGIN = /^[^\s+\0-\x1f\x7f]+$/u;

/** The state of a log: the number of entries, and the root of the tree over them (32 bytes). */
export interface Checkpoint {
  origin: string;
  size: number;
  root: Uint8Array;
}

/** An Ed25519 key that signs. It does not give its seed back. */
export interface SigningKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Ed25519, RFC 8032: 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array;
}

/** A note or a verifier key that is malformed, belongs to another log, or is not signed by the key. */
export class CheckpointError extends Error {
  override name = 'CheckpointError';
}

/** Makes 32 random bytes: an Ed25519 private key as in RFC 8032 section 5.1.5. */
export function generateSeed(): Uint8Array {
  return randomBytes(KEY_BYTES);
}

/** Makes the key pair of a 32-byte seed. @throws RangeError for another length */
export function signingKeyFromSeed(seed: Uint8Array): SigningKey {
  if (seed.length !== KEY_BYTES) throw new RangeError(`a seed has ${KEY_BYTES} bytes`);
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  der.fill(0);
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX.length);
  return { publicKey, sign: (bytes) => sign(null, bytes, privateKey) };
}

/**
 * Writes the verifier key that an operator gives to a verifier: `<origin>+<hex key id>+<base64(0x01 ‖ public key)>`,
 * C2SP signed-note. @throws CheckpointError
 */
export function verifierKey(origin: string, publicKey: Uint8Array): string {
  assertOrigin(origin);
  if (publicKey.length !== KEY_BYTES) throw new CheckpointError(`a public key has ${KEY_BYTES} bytes`);
  const id = toHex(keyId(origin, publicKey));
  return `${origin}+${id}+${toBase64(Buffer.concat([Buffer.of(ED25519), publicKey]))}`;
}

/**
 * Reads a verifier key and recomputes its key id.
 * @throws CheckpointError for a text that `verifierKey` does not write
 */
export function parseVerifierKey(vkey: string): { origin: string; publicKey: Uint8Array } {
  // The origin and the id contain no plus sign. The base64 after them may.
  const [, origin, encoded] = /^([^+]+)\+[0-9a-f]{8}\+(.+)$/s.exec(vkey) ?? [];
  if (!origin || !encoded) throw new CheckpointError('the verifier key is malformed');
  const key = bytesOf(encoded, 1 + KEY_BYTES);
  const publicKey = key.subarray(1);
  // The comparison with the text written again finds another algorithm, another key id and every other difference.
  if (verifierKey(origin, publicKey) !== vkey) throw new CheckpointError('the verifier key does not match its key id');
  return { origin, publicKey };
}

/**
 * Writes a C2SP tlog-checkpoint as a signed note with one Ed25519 signature.
 * @throws CheckpointError for a state that `openCheckpoint` would refuse
 */
export function signCheckpoint(key: SigningKey, checkpoint: Checkpoint): string {
  const { origin, size, root } = checkpoint;
  assertOrigin(origin);
  if (!Number.isSafeInteger(size) || size < 0) throw new CheckpointError('a size is an integer from 0 to 2^53-1');
  if (root.length !== ROOT_BYTES) throw new CheckpointError(`a root has ${ROOT_BYTES} bytes`);
  const body = `${origin}\n${size}\n${toBase64(root)}\n`;
  const signature = Buffer.concat([keyId(origin, key.publicKey), key.sign(Buffer.from(body))]);
  return `${body}\n— ${origin} ${toBase64(signature)}\n`;
}

/**
 * Reads a checkpoint that the key of `vkey` signed exactly once. Skips well-formed signature lines of other keys, such
 * as witnesses.
 * @throws CheckpointError for another origin, more than three lines, leading zeros, base64 that is not canonical, and a
 * wrong or missing signature
 */
export function openCheckpoint(note: string, vkey: string): Checkpoint {
  const { origin, publicKey } = parseVerifierKey(vkey);
  const { body, signatures } = splitNote(note);
  const id = keyId(origin, publicKey);
  const ours = signatures.filter((line) => line.name === origin && constantTimeEqual(line.keyId, id));
  if (ours.length !== 1) throw new CheckpointError('the checkpoint must be signed once by the key of this log');
  if (!verifySignature(publicKey, body, ours[0]!.signature)) throw new CheckpointError('the signature is wrong');
  return parseBody(body, origin);
}

/** What the key of a log signs to name the key of the log that follows it, after its last checkpoint. */
export function successionStatement({
  verifierKey: old,
  checkpoint,
  next,
}: {
  verifierKey: string;
  checkpoint: string;
  next: string;
}): Uint8Array {
  return Buffer.from(`cardea/audit/succession/v1\n${old}\n${next}\n${checkpoint}`);
}

interface SignatureLine {
  name: string;
  keyId: Uint8Array;
  signature: Uint8Array;
}

function splitNote(note: string): { body: string; signatures: SignatureLine[] } {
  if (note.length > NOTE_CHARS_MAX || !note.isWellFormed())
    throw new CheckpointError('the note is too long or not well-formed text');
  const gap = note.lastIndexOf('\n\n');
  if (gap < 0 || !note.endsWith('\n')) throw new CheckpointError('the note is malformed');
  const lines = note.slice(gap + 2, -1).split('\n');
  return { body: note.slice(0, gap + 1), signatures: lines.map(parseSignatureLine) };
}

function parseSignatureLine(line: string): SignatureLine {
  const [, name, encoded] = SIGNATURE_LINE.exec(line) ?? [];
  if (!name || !encoded) throw new CheckpointError('a signature line is malformed');
  const bytes = bytesOf(encoded);
  if (bytes.length <= KEY_ID_BYTES) throw new CheckpointError('a signature line is malformed');
  return { name, keyId: bytes.subarray(0, KEY_ID_BYTES), signature: bytes.subarray(KEY_ID_BYTES) };
}

function verifySignature(publicKey: Uint8Array, body: string, signature: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_BYTES) return false;
  const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' });
  return verify(null, Buffer.from(body), key, signature);
}

function parseBody(body: string, expectedOrigin: string): Checkpoint {
  const [origin, size = '', root = '', end, ...extra] = body.split('\n');
  if (end !== '' || extra.length > 0) throw new CheckpointError('a checkpoint has three lines');
  if (origin !== expectedOrigin) throw new CheckpointError('the checkpoint belongs to another log');
  if (!SIZE.test(size) || !Number.isSafeInteger(Number(size))) throw new CheckpointError('the size is malformed');
  return { origin, size: Number(size), root: bytesOf(root, ROOT_BYTES) };
}

function keyId(origin: string, publicKey: Uint8Array): Buffer {
  const named = Buffer.concat([Buffer.from(`${origin}\n`), Buffer.of(ED25519), publicKey]);
  return Buffer.from(sha256(named).subarray(0, KEY_ID_BYTES));
}

function assertOrigin(origin: string): void {
  if (!ORIGIN.test(origin) || !origin.isWellFormed()) {
    throw new CheckpointError('an origin is text without spaces, plus signs or control characters');
  }
}

function bytesOf(base64: string, expectedBytes?: number): Uint8Array {
  const bytes = parseBase64(base64);
  if (!bytes || (expectedBytes !== undefined && bytes.length !== expectedBytes)) {
    throw new CheckpointError('base64 is malformed or has another length');
  }
  return bytes;
}
