/**
 * The place of a secret's value, by ids and by the names in the request, and how to read it. A row does not open in
 * another place, nor as something that was not written.
 */
export interface SecretContext {
  vaultId: string;
  vaultName: string;
  /** The secret's name. */
  name: string;
  secretId: string;
  /** Version of the secret's value. */
  version: number;
  /** Column or field within the version, such as `value`. */
  field: string;
  /** The form of the value in an answer: `utf8` or `base64`. */
  encoding: string;
  /** Null if the value has no content type. An empty content type is another context. */
  contentType: string | null;
}

/** The place of the material of a key version, and how it is used. */
export interface KeyMaterialContext {
  vaultId: string;
  vaultName: string;
  /** The key's name. */
  name: string;
  keyId: string;
  /** Version of the key. */
  version: number;
  algorithm: string;
  /** How it derives a key for each context. Null if it is used itself. */
  derivation: string | null;
}

/** Names a wrapped DEK and the KEK that wraps it. */
export interface DekContext {
  vaultId: string;
  dekVersion: number;
  kekVersion: number;
}

/** Context of one field of one secret version. @throws RangeError, as every context does; see `encode` */
export function secretContext(ref: SecretContext): Uint8Array {
  const { vaultId, vaultName, name, secretId, version, field, encoding, contentType } = ref;
  const optional = { optional: contentType };
  return encode('cardea/secret/v1', [vaultId, vaultName, name, secretId, version, field, encoding, optional]);
}

/** Context of the material of one key version. */
export function keyMaterialContext(ref: KeyMaterialContext): Uint8Array {
  return encode('cardea/key/v1', partsOfKey(ref));
}

/** The same of a key that was made exportable. It is another context, so nobody makes a key exportable later. */
export function exportableKeyContext(ref: KeyMaterialContext): Uint8Array {
  return encode('cardea/exportable-key/v1', partsOfKey(ref));
}

function partsOfKey({ vaultId, vaultName, name, keyId, version, algorithm, derivation }: KeyMaterialContext): Part[] {
  return [vaultId, vaultName, name, keyId, version, algorithm, { optional: derivation }];
}

/** Context of a DEK wrapped under a KEK. */
export function dekContext(ref: DekContext): Uint8Array {
  return encode('cardea/dek/v1', [ref.vaultId, ref.dekVersion, ref.kekVersion]);
}

/** Context of a KEK wrapped under the root key. */
export function kekContext(ref: { kekVersion: number }): Uint8Array {
  return encode('cardea/kek/v1', [ref.kekVersion]);
}

/** Context of the root key wrapped for a seal. */
export function rootKeyContext(ref: { sealId: string }): Uint8Array {
  return encode('cardea/root-key/v1', [ref.sealId]);
}

/** Context of the system's own data, such as a token signing key: its kind and its id. */
export function systemContext(kind: string, id: string): Uint8Array {
  return encode('cardea/system/v1', [kind, id]);
}

/** Text, an integer, or text that may be absent. */
type Part = string | number | { optional: string | null };

/**
 * Encodes with length prefixes, so that no two inputs give the same bytes. A string is u32be length ‖ UTF-8, an integer
 * is u64be, an optional string is 00 if absent and 01 ‖ the string otherwise. The domain is a string that fixes the
 * number and the types of the parts.
 * @throws RangeError for a lone surrogate (UTF-8 would turn them all into the same three bytes) and for a number that
 * is not an integer from 0 to 2^53-1
 */
function encode(domain: string, parts: readonly Part[]): Uint8Array {
  const all = [domain, ...parts];
  const out = Buffer.allocUnsafe(all.reduce<number>((sum, part) => sum + encodedBytes(part), 0));
  let offset = 0;
  for (const part of all) offset = writePart(out, part, offset);
  return out;
}

function encodedBytes(part: Part): number {
  if (typeof part === 'number') return 8;
  if (typeof part === 'string') return 4 + Buffer.byteLength(part);
  return part.optional === null ? 1 : 1 + encodedBytes(part.optional);
}

function writePart(out: Buffer, part: Part, offset: number): number {
  if (typeof part === 'number') return writeInteger(out, part, offset);
  if (typeof part === 'string') return writeString(out, part, offset);
  if (part.optional === null) return out.writeUInt8(0, offset);
  return writeString(out, part.optional, out.writeUInt8(1, offset));
}

function writeString(out: Buffer, text: string, offset: number): number {
  if (!text.isWellFormed()) throw new RangeError('a context holds well-formed text only');
  const bytes = out.write(text, offset + 4);
  return out.writeUInt32BE(bytes, offset) + bytes;
}

function writeInteger(out: Buffer, value: number, offset: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError('a context holds integers from 0 to 2^53-1 only');
  return out.writeBigUInt64BE(BigInt(value), offset);
}
