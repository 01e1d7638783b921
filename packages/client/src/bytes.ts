const CHUNK = 32_768;

/** Bytes in standard base64. */
export function toBase64(bytes: Uint8Array): string {
  let binary = '';
  // String.fromCharCode takes a limited number of arguments.
  for (let at = 0; at < bytes.length; at += CHUNK) binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(binary);
}

/** The bytes of standard base64. @throws DOMException if it is not base64 */
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** A value as a write takes it: text as it is, bytes in base64. */
export function toValue(value: string | Uint8Array): { value: string; encoding: 'utf8' | 'base64' } {
  return typeof value === 'string' ? { value, encoding: 'utf8' } : { value: toBase64(value), encoding: 'base64' };
}

/** The bytes of a value as a read gives it. */
export function bytesOf({ value, encoding }: { value: string; encoding: 'utf8' | 'base64' }): Uint8Array {
  return encoding === 'utf8' ? new TextEncoder().encode(value) : fromBase64(value);
}
