/** Writes bytes as lower-case hex, two digits each. */
export function toHex(bytes: Uint8Array): string {
  return view(bytes).toString('hex');
}

/** Decodes hex whose form the caller has checked. Node stops at the first character that is not a hex digit. */
export function fromHex(text: string): Uint8Array {
  return Buffer.from(text, 'hex');
}

/** Writes bytes as base64 with padding, RFC 4648 section 4. */
export function toBase64(bytes: Uint8Array): string {
  return view(bytes).toString('base64');
}

/**
 * Decodes base64 whose form the caller has checked. Node skips other characters; for unchecked text see `parseBase64`.
 */
export function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, 'base64');
}

/** Decodes base64. Undefined for a text that `toBase64` does not write, such as another spelling of the same bytes. */
export function parseBase64(text: string): Uint8Array | undefined {
  const bytes = fromBase64(text);
  return toBase64(bytes) === text ? bytes : undefined;
}

/** Writes base64url without padding, RFC 4648 section 5. */
export function toBase64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}

/** Reads what `toBase64Url` wrote. Undefined for any other text, also for another spelling of the same bytes. */
export function parseBase64Url(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return toBase64Url(bytes) === text ? bytes : undefined;
}

/** Writes bytes as text: decoded as UTF-8 with replacement characters, or encoded as base64. */
export function toText(bytes: Uint8Array, encoding: 'utf8' | 'base64'): string {
  return view(bytes).toString(encoding);
}

// Views the same memory. A copy would keep bytes that the caller overwrites later.
function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
