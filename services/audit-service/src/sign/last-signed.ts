import { join } from 'node:path';
import { AuditTime } from '@cardea/contracts/audit-event';
import { Base64 } from '@cardea/contracts/names';
import { CheckpointError, openCheckpoint } from '@cardea/crypto/checkpoint';
import { toBase64 } from '@cardea/crypto/encoding';
import { StartError } from '@cardea/process/config';
import { readIfThere, replaceFile } from '@cardea/process/durable-file';
import { z } from 'zod';

const LastSigned = z.strictObject({
  origin: z.string(),
  size: z.int().min(0),
  root: Base64,
  /** The chain hash of the last entry at that size in hex, or the genesis if the size is 0. */
  chain: z.string().regex(/^[0-9a-f]{64}$/),
  /** The signed note. */
  note: z.string(),
  signedAt: AuditTime,
});

/** The last signed state. It is kept outside the database, so that a rollback of the database is detected. */
export type LastSigned = z.output<typeof LastSigned>;

export function lastSignedPath(folder: string): string {
  return join(folder, 'last-signed.json');
}

/** @throws StartError if this key did not sign the file's checkpoint */
export async function readLastSigned(folder: string, vkey: string): Promise<LastSigned | undefined> {
  const path = lastSignedPath(folder);
  const content = await readIfThere(path);
  if (content === undefined) return undefined;
  try {
    const signed = LastSigned.parse(JSON.parse(content));
    const { origin, size, root } = openCheckpoint(signed.note, vkey);
    if (origin === signed.origin && size === signed.size && toBase64(root) === signed.root) {
      return signed;
    }
  } catch (cause) {
    if (!(cause instanceof SyntaxError || cause instanceof z.ZodError || cause instanceof CheckpointError)) throw cause;
    throw damaged(path, cause);
  }
  throw damaged(path);
}

/** Resolves once the file survives a power cut. */
export function writeLastSigned(folder: string, signed: LastSigned): Promise<void> {
  return replaceFile(lastSignedPath(folder), `${JSON.stringify(signed, undefined, 2)}\n`, 0o600);
}

function damaged(path: string, cause?: unknown): StartError {
  return new StartError(
    `${path} is not the checkpoint that the key of this log signed last: restore the file or the signing key from a backup.`,
    { cause },
  );
}
