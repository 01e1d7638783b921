import { AppError } from '@cardea/contracts/errors';
import { PlainName, SecretName } from '@cardea/contracts/names';
import { REFERENCE_TYPE, Version } from '@cardea/contracts/secrets/secret-shapes';
import type { Queryable } from '@cardea/storage/db';
import { z } from 'zod';

/** Where a reference points: to a secret by vault and name, and to its newest version if it names none. */
export interface Target {
  vault: string;
  name: string;
  version?: number | undefined;
}

/** The vault and the secret that had the names of a target when the reference was written; null for a free name. */
export interface Binding {
  vaultId: string | null;
  secretId: string | null;
}

/** A target with the ids that it is bound to. */
export type BoundTarget = Target & Binding;

const Reference = z.strictObject({
  $ref: z.strictObject({ vault: PlainName, name: SecretName, version: Version.optional() }),
});

/** Parses the text of a reference. @throws AppError `invalid_request` if it is not a reference */
function parseReference(text: Uint8Array): Target {
  const parsed = Reference.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data.$ref;
  const shape = '{"$ref": {"vault": …, "name": …, "version": …}}';
  throw new AppError('invalid_request', `value: a reference must be ${shape}; the version is optional`);
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // A value that is not JSON is not a reference. `parseReference` throws the error.
    return undefined;
  }
}

/**
 * Binds the text of a reference to what has the names of its target now: a name can pass to another secret, an id
 * cannot. The result is what is sealed: a line with both ids, then the text as its author wrote it. So the ids cannot be
 * changed in the database, and they stay as they are when the reference is moved, rolled back or sealed again.
 * @throws AppError `invalid_request` if the text is not a reference
 */
export async function bindReference(db: Queryable, text: Uint8Array): Promise<Uint8Array> {
  const { vaultId, secretId } = await findBinding(db, parseReference(text));
  const line = new TextEncoder().encode(`${JSON.stringify([vaultId, secretId])}\n`);
  const bytes = new Uint8Array(line.length + text.length);
  bytes.set(line);
  bytes.set(text, line.length);
  return bytes;
}

async function findBinding(db: Queryable, { vault, name }: Target): Promise<Binding> {
  const [row] = await db.query<{ vault_id: string; secret_id: string | null }>(
    `select v.id as vault_id, s.id as secret_id
       from vault v
       left join secret s on s.vault_id = v.id and s.name = $2
      where v.name = $1`,
    [vault, name],
  );
  return { vaultId: row?.vault_id ?? null, secretId: row?.secret_id ?? null };
}

const NEWLINE = 10;

/** The value of a version as its author wrote it, from the bytes that were sealed. It shares their memory. */
export function asWritten({ content_type: type }: { content_type: string | null }, bytes: Uint8Array): Uint8Array {
  return type === REFERENCE_TYPE ? textOfBound(bytes) : bytes;
}

/** The text of a reference, from the bytes of `bindReference`. It shares their memory. */
export function textOfBound(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(bytes.indexOf(NEWLINE) + 1);
}

/** The target of a reference, from the bytes of `bindReference`. */
export function parseBound(bytes: Uint8Array): BoundTarget {
  const line = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(NEWLINE)));
  const [vaultId, secretId] = JSON.parse(line) as [string | null, string | null];
  return { ...parseReference(textOfBound(bytes)), vaultId, secretId };
}

/**
 * Whether a target is still what the reference was bound to. A vault that was made after the reference never is. A secret
 * that was made after it is, if the name was free: the author named the vault, and trusts everybody who may write in it.
 */
export function isBoundTo({ vaultId, secretId }: Binding, found: { vaultId: string; secretId: string }): boolean {
  return vaultId === found.vaultId && (secretId === null || secretId === found.secretId);
}
