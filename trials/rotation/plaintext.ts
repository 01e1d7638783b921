import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { DEKS_AT_ONCE_MAX, unwrapDeks } from '@cardea/contracts/kek-api';
import { createClient } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import { Violation } from '../kill/ledger.ts';
import type { Installation } from './installation.ts';
import type { StoredDek } from './stored.ts';

/** The bytes of a needle that are compared first. */
const HEAD = 3;

/** Unwraps DEKs as api-service does, with its certificate. Returns their bytes. */
export async function openDeks(installation: Installation, deks: StoredDek[]): Promise<Buffer[]> {
  const identity = readTlsIdentity(join(installation.dataDir, 'tls'), 'api-service');
  const client = createClient({ url: installation.kekUrl, peer: 'kek-service', identity });
  const opened: Buffer[] = [];
  const wrapped = deks.filter((dek) => dek.wrapped !== null);
  for (let from = 0; from < wrapped.length; from += DEKS_AT_ONCE_MAX) {
    const items = wrapped.slice(from, from + DEKS_AT_ONCE_MAX).map(({ vaultId, dekVersion, kekVersion, wrapped }) => ({
      vaultId,
      dekVersion,
      kekVersion,
      wrappedDekBase64: Buffer.from(wrapped!).toString('base64'),
    }));
    const answer = await client.call(unwrapDeks, { body: { items } });
    opened.push(...answer.items.map(({ dekBase64 }) => Buffer.from(dekBase64, 'base64')));
  }
  await client.close();
  return opened;
}

/**
 * Searches files for secrets: as they are, in hex and in base64. Returns the number of bytes searched.
 * @throws Violation that names the file
 */
export async function searchFiles(files: string[], secrets: Buffer[]): Promise<number> {
  const needles = createNeedles(secrets.flatMap(spellings));
  let bytes = 0;
  for (const file of files) bytes += await searchFile(file, needles);
  return bytes;
}

function spellings(secret: Buffer): Buffer[] {
  // The last group of base64 depends on what follows.
  const base64 = secret.toString('base64').slice(0, Math.floor(secret.length / 3) * 4);
  const urlSafe = base64.replaceAll('+', '-').replaceAll('/', '_');
  const hex = secret.toString('hex');
  const texts = new Set([base64, urlSafe, hex, hex.toUpperCase()]);
  return [secret, ...[...texts].map((text) => Buffer.from(text))];
}

/** Byte strings that can be found all at once. */
interface Needles {
  byHead: ReadonlyMap<number, Buffer[]>;
  /** One byte for each possible head: 1 if a needle has it. */
  heads: Uint8Array;
  longest: number;
}

function createNeedles(needles: Buffer[]): Needles {
  const byHead = Map.groupBy(needles, (needle) => needle.readUIntBE(0, HEAD));
  const heads = new Uint8Array(2 ** (8 * HEAD));
  for (const head of byHead.keys()) heads[head] = 1;
  return { byHead, heads, longest: Math.max(...needles.map(({ length }) => length)) };
}

async function searchFile(file: string, needles: Needles): Promise<number> {
  let kept = Buffer.alloc(0);
  let bytes = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 }) as AsyncIterable<Buffer>) {
    const text = Buffer.concat([kept, chunk]);
    const at = findIn(text, needles);
    if (at !== undefined) throw new Violation(`${file} has a secret in plain at byte ${bytes - kept.length + at}`);
    kept = text.subarray(Math.max(0, text.length - needles.longest + 1));
    bytes += chunk.length;
  }
  return bytes;
}

function findIn(text: Buffer, { byHead, heads }: Needles): number | undefined {
  let head = 0;
  for (let end = 0; end < text.length; end += 1) {
    head = ((head << 8) | text[end]!) & 0xff_ff_ff;
    if (heads[head] !== 1 || end < HEAD - 1) continue;
    const at = end - HEAD + 1;
    for (const needle of byHead.get(head)!) {
      if (needle.equals(text.subarray(at, at + needle.length))) return at;
    }
  }
  return undefined;
}
