import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Queryable, Transaction } from '@cardea/storage/db';
import { mayRead } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { REFERENCES_LOCK } from '../locks.ts';
import { isBoundTo, parseBound } from './reference-value.ts';
import type { BoundTarget } from './reference-value.ts';

/** How many references of one chain are followed. */
export const REFERENCE_HOPS_MAX = 10;

/**
 * Stores where a version points that has just been written. `bytes` are those of `bindReference`.
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
  const target = parseBound(bytes);
  await tx.lock(REFERENCES_LOCK);
  await refuseCircle(ctx, tx, caller, { from, first: target, code: 'invalid_request' });
  const { vault, name, version = null, vaultId, secretId } = target;
  await tx.query(
    `insert into secret_reference (secret_id, version, target_vault, target_name, target_version, target_vault_id,
                                   target_secret_id)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [from.secretId, from.version, vault, name, version, vaultId, secretId],
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
    `select r.version, r.target_vault, r.target_name, r.target_version, r.target_vault_id, r.target_secret_id
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
  from: { vault: string; name: string; secretId: string; version: number };
  first: BoundTarget;
  code: 'invalid_request' | 'conflict';
}

// Stops at a secret that the caller may not read: a refusal would reveal that it exists and where it points. A circle
// that goes through such a secret is refused when it is read.
async function refuseCircle(ctx: VaultContext, tx: Transaction, caller: Caller, { from, first, code }: ReferencePath) {
  let target: BoundTarget | undefined = first;
  for (let hops = 1; target; hops += 1) {
    const isName = target.vault === from.vault && target.name === from.name;
    const isBack = isName && (target.secretId ?? from.secretId) === from.secretId;
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
  target_vault_id: string | null;
  target_secret_id: string | null;
}

function toTarget(row: TargetColumns): BoundTarget {
  return {
    vault: row.target_vault,
    name: row.target_name,
    version: row.target_version ?? undefined,
    vaultId: row.target_vault_id,
    secretId: row.target_secret_id,
  };
}

// Nobody can read a reference in the trash or without a value, or a target that is another than the bound one
// (`isBoundTo`): they lead nowhere.
async function findNext(db: Queryable, target: BoundTarget): Promise<BoundTarget | undefined> {
  const [row] = await db.query<TargetColumns & { secret_id: string; vault_id: string }>(
    `select s.id as secret_id, s.vault_id, r.target_vault, r.target_name, r.target_version, r.target_vault_id,
            r.target_secret_id
       from vault v
       join secret s on s.vault_id = v.id
       join secret_version e on e.secret_id = s.id and e.version = coalesce($3, s.current_version)
       join secret_reference r on r.secret_id = e.secret_id and r.version = e.version
      where v.name = $1
        and s.name = $2
        and e.deleted_at is null
        and e.ciphertext is not null`,
    [target.vault, target.name, target.version ?? null],
  );
  if (!row || !isBoundTo(target, { vaultId: row.vault_id, secretId: row.secret_id })) return undefined;
  return toTarget(row);
}
