import { parseBase64, toBase64 } from '../encoding.ts';

/** What a version of a key has made: a ciphertext, a signature or a MAC. */
export interface Made {
  version: number;
  bytes: Uint8Array;
}

/** Writes what a key has made as `cardea:v<version>:<base64>`. */
export function formatMade({ version, bytes }: Made): string {
  return `cardea:v${version}:${toBase64(bytes)}`;
}

/** Reads what `formatMade` wrote. Undefined for any other text, also for another spelling of the same bytes. */
export function parseMade(text: string): Made | undefined {
  const [, version, base64] = /^cardea:v([1-9]\d{0,14}):([A-Za-z0-9+/=]+)$/.exec(text) ?? [];
  const bytes = base64 === undefined ? undefined : parseBase64(base64);
  return bytes && { version: Number(version), bytes };
}
