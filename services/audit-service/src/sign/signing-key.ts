import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { generateSeed, signingKeyFromSeed, verifierKey } from '@cardea/crypto/checkpoint';
import type { SigningKey } from '@cardea/crypto/checkpoint';
import { fromHex, toHex } from '@cardea/crypto/encoding';
import { StartError } from '@cardea/process/config';
import { readIfThere, replaceFile } from '@cardea/process/durable-file';
import { readPrivateFile } from '@cardea/process/private-file';
import type { Queryable } from '@cardea/storage/db';
import { readHead } from '../entry-store.ts';
import { lastSignedPath } from './last-signed.ts';

/**
 * Reads the key that signs the checkpoints from `<folder>/signing-key` (the seed in hex, mode 0600). The first start
 * makes it. Writes the key for verifiers beside it, to `verifier-key` (mode 0644).
 * @throws StartError if a log exists but its key does not, if the file is not a key, or if others can read it
 */
export async function openSigningKey(
  db: Queryable,
  folder: string,
  origin: string,
): Promise<{ key: SigningKey; vkey: string }> {
  const path = join(folder, 'signing-key');
  const key = existsSync(path) ? await readSigningKey(path) : signingKeyFromSeed(await makeSeed(db, folder, path));
  const vkey = verifierKey(origin, key.publicKey);
  const vkeyPath = join(folder, 'verifier-key');
  if ((await readIfThere(vkeyPath)) !== `${vkey}\n`) await replaceFile(vkeyPath, `${vkey}\n`, 0o644);
  return { key, vkey };
}

/** @throws StartError if the file is not a key, or if others can read it */
export async function readSigningKey(path: string): Promise<SigningKey> {
  const content = await readPrivateFile({ path, subject: `The signing key ${path}` });
  if (!/^[0-9a-f]{64}$/.test(content)) {
    throw new StartError(`${path} is not a signing key (64 hex digits): restore it from the backup of the key.`);
  }
  return signingKeyFromSeed(fromHex(content));
}

async function makeSeed(db: Queryable, folder: string, path: string): Promise<Uint8Array> {
  const { size } = await readHead(db);
  if (size > 0 || (await readIfThere(lastSignedPath(folder))) !== undefined) {
    throw new StartError(
      `${path} is missing, but the audit log that it signs exists: restore it from the backup of the key. A new key would start another log.`,
    );
  }
  const seed = generateSeed();
  await replaceFile(path, `${toHex(seed)}\n`, 0o600);
  return seed;
}
