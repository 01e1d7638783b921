/** Where a secret's value is stored: by ids, and by the name it is asked for, so that a row does not open under another. */
export interface SecretContext {
  vaultId: string;
  name: string;
  secretId: string;
  /** Version of the secret's value. */
  version: number;
  /** Column or field within the version, such as `value`. */
  field: string;
}

/** Which DEK is wrapped, and under which KEK. */
export interface DekContext {
  vaultId: string;
  dekVersion: number;
  kekVersion: number;
}

/** Context of one field of one secret version. Throws RangeError as all contexts do; see `encode`. */
export function secretContext(ref: SecretContext): Uint8Array {
  return encode('cardea/secret/v1', [ref.vaultId, ref.name, ref.secretId, ref.version, ref.field]);
}

/** Context of a DEK wrapped under a KEK. */
export function dekContext(ref: DekContext): Uint8Array {
  return encode('cardea/dek/v1', [ref.vaultId, ref.dekVersion, ref.kekVersion]);
}

/** Context of a KEK wrapped under the root key. */
export function kekContext(ref: { kekVersion: number }): Uint8Array {
  return encode('cardea/kek/v1', [ref.kekVersion]);
}

/** Context of what the system keeps for itself, such as a token signing key: what it is, and which one. */
export function systemContext(kind: string, id: string): Uint8Array {
  return encode('cardea/system/v1', [kind, id]);
}

/**
 * Length-prefixed, so that no two inputs give the same bytes: strings are u32be length ‖ UTF-8,
 * integers u64be; the domain, itself a string, fixes the number and the types of the parts.
 * Throws RangeError on a lone surrogate (UTF-8 would turn them all into the same three bytes) and
 * on what is not an integer from 0 to 2^53-1.
 */
function encode(domain: string, parts: readonly (string | number)[]): Uint8Array {
  const out = Buffer.allocUnsafe(
    encodedBytes(domain) + parts.reduce<number>((sum, part) => sum + encodedBytes(part), 0),
  );
  let offset = writeString(out, domain, 0);
  for (const part of parts) {
    offset = typeof part === 'string' ? writeString(out, part, offset) : writeInteger(out, part, offset);
  }
  return out;
}

function encodedBytes(part: string | number): number {
  return typeof part === 'string' ? 4 + Buffer.byteLength(part) : 8;
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
