import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { PlainName, SecretName } from '@cardea/contracts/names';
import { Version } from '@cardea/contracts/secrets/secret-shapes';
import type { Queryable, Transaction } from '@cardea/storage/db';
import { z } from 'zod';
import { mayRead } from '../authorize.ts';
import { REFERENCES_LOCK } from '../locks.ts';
import type { VaultContext } from '../context.ts';

/** How many references of one chain are followed. */
export const REFERENCE_HOPS_MAX = 10;

/** Where a reference points: to a secret by vault and name, and to its newest version if it names none. */
export interface Target {
  vault: string;
  name: string;
  version?: number | undefined;
}

const Reference = z.strictObject({
  $ref: z.strictObject({ vault: PlainName, name: SecretName, version: Version.optional() }),
});

/** Parses the value of a reference. @throws AppError `invalid_request` if the value is not a reference */
export function parseReference(bytes: Uint8Array): Target {
  const parsed = Reference.safeParse(jsonOf(bytes));
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
 * Stores where a version points that has just been written.
 * @throws AppError `invalid_request` if the reference leads back to itself or over too many others, as far as the
 * caller may read
 */
export async function noteReference(
  ctx: VaultContext,
  tx: Transaction,
  caller: Caller,
  from: { vault: string; name: string; secretId: string; version: number },
  bytes: Uint8Array,
): Promise<void> {
  const target = parseReference(bytes);
  await tx.lock(REFERENCES_LOCK);
  await refuseCircle(ctx, tx, caller, { from, first: target, code: 'invalid_request' });
  await tx.query(
    `insert into secret_reference (secret_id, version, target_vault, target_name, target_version)
     values ($1, $2, $3, $4, $5)`,
    [from.secretId, from.version, target.vault, target.name, target.version ?? null],
  );
}

/**
 * Checks the references of a secret that has just been moved, in all its versions that can be read.
 * @throws AppError `conflict` if one leads back to itself or over too many others, as far as the caller may read
 */
export async function requireNoCircle(
  ctx: VaultContext,
  tx: Transaction,
  caller: Caller,
  from: { vault: string; name: string; secretId: string },
): Promise<void> {
  const rows = await tx.query<TargetColumns & { version: number }>(
    `select r.version, r.target_vault, r.target_name, r.target_version
       from secret_reference r
       join secret_version v on v.secret_id = r.secret_id and v.version = r.version
      where r.secret_id = $1
        and v.deleted_at is null
        and v.ciphertext is not null
      order by r.version`,
    [from.secretId],
  );
  for (const row of rows) {
    const path = { from: { ...from, version: row.version }, first: toTarget(row), code: 'conflict' } as const;
    await refuseCircle(ctx, tx, caller, path);
  }
}

interface ReferencePath {
  from: { vault: string; name: string; version: number };
  first: Target;
  code: 'invalid_request' | 'conflict';
}

// Stops at a secret that the caller may not read: a refusal would reveal that it exists and where it points. A circle
// that goes through such a secret is refused when it is read.
async function refuseCircle(ctx: VaultContext, tx: Transaction, caller: Caller, { from, first, code }: ReferencePath) {
  let target: Target | undefined = first;
  for (let hops = 1; target; hops += 1) {
    const isBack = target.vault === from.vault && target.name === from.name;
    if (isBack && (target.version ?? from.version) === from.version) {
      const where = code === 'invalid_request' ? 'value: ' : '';
      throw new AppError(code, `${where}the reference leads back to the secret itself`, { rule: 'reference-circle' });
    }
    if (hops > REFERENCE_HOPS_MAX) throw tooManyHops(code);
    target = (await mayRead(ctx, tx, caller, target)) ? await findNext(tx, target) : undefined;
  }
}

/** @returns the error for a chain of references that is too long or is a circle */
export function tooManyHops(code: 'invalid_request' | 'conflict'): AppError {
  return new AppError(code, `the chain of references is longer than ${REFERENCE_HOPS_MAX}`, {
    rule: 'reference-depth',
  });
}

interface TargetColumns {
  target_vault: string;
  target_name: string;
  target_version: number | null;
}

function toTarget(row: TargetColumns): Target {
  return { vault: row.target_vault, name: row.target_name, version: row.target_version ?? undefined };
}

// A reference in the trash or without a value leads nowhere, because nobody can read it.
async function findNext(db: Queryable, { vault, name, version }: Target): Promise<Target | undefined> {
  const [row] = await db.query<TargetColumns>(
    `select r.target_vault, r.target_name, r.target_version
       from vault v
       join secret s on s.vault_id = v.id
       join secret_version e on e.secret_id = s.id and e.version = coalesce($3, s.current_version)
       join secret_reference r on r.secret_id = e.secret_id and r.version = e.version
      where v.name = $1
        and s.name = $2
        and e.deleted_at is null
        and e.ciphertext is not null`,
    [vault, name, version ?? null],
  );
  return row && toTarget(row);
}

/** How many secrets point to this one with their newest version. Versions that cannot be read do not count. */
export async function countDependants(
  db: Queryable,
  { vault, name }: { vault: string; name: string },
): Promise<number> {
  const [row] = await db.query<{ n: number }>(
    `select count(*) as n
       from secret_reference r
       join secret s on s.id = r.secret_id and s.current_version = r.version
       join secret_version e on e.secret_id = r.secret_id and e.version = r.version
       join vault v on v.id = s.vault_id
      where r.target_vault = $1
        and r.target_name = $2
        and e.deleted_at is null
        and e.ciphertext is not null`,
    [vault, name],
  );
  return row!.n;
}
