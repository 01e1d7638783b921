/** Bytes as hex, lower case, two digits each. */
export function toHex(bytes: Uint8Array): string {
  return view(bytes).toString('hex');
}

/** The bytes of hex whose form was checked before. It ends, as Node has it, at the first character that is no digit. */
export function fromHex(text: string): Uint8Array {
  return Buffer.from(text, 'hex');
}

/** Bytes as base64 with padding, RFC 4648 section 4. */
export function toBase64(bytes: Uint8Array): string {
  return view(bytes).toString('base64');
}

/** The bytes of base64 whose form was checked before. Node skips what is no base64: for text of others, see `parseBase64`. */
export function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, 'base64');
}

/** The bytes of base64; undefined for whatever `toBase64` does not write, such as another spelling of the same bytes. */
export function parseBase64(text: string): Uint8Array | undefined {
  const bytes = fromBase64(text);
  return toBase64(bytes) === text ? bytes : undefined;
}

/** Bytes as text: decoded from UTF-8, a replacement character for what is none, or encoded in base64. */
export function toText(bytes: Uint8Array, encoding: 'utf8' | 'base64'): string {
  return view(bytes).toString(encoding);
}

// The same memory, not a copy: what is overwritten later would be left in one.
function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
