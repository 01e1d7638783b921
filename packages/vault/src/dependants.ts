import type { Caller } from '@cardea/contracts/caller';
import type { Queryable } from '@cardea/storage/db';
import { toGrantedOrNone } from './access-store.ts';
import type { NoGrantColumns } from './access-store.ts';
import { mayList, principalOf } from './authorize.ts';
import type { VaultContext } from './context.ts';

/** References are counted up to this number. */
const DEPENDANTS_MAX = 1_000;

/** How many secrets point to one that goes away: all of them for the record, and those the caller may list for them. */
export interface Dependants {
  all: number;
  seen: number;
}

/**
 * The secrets that point with their newest version to a secret by the name in this row, which may be its old name.
 * Versions that cannot be read do not count.
 */
export async function countDependants(
  ctx: VaultContext,
  db: Queryable,
  caller: Caller,
  { id, vault_id: vaultId, name }: { id: string; vault_id: string; name: string },
): Promise<Dependants> {
  const rows = await db.query<Dependant>(
    `${DEPENDANTS}
        and r.target_vault_id = $3
        and r.target_name = $4
        and coalesce(r.target_secret_id, $5) = $5
      limit $2`,
    [principalOf(caller), DEPENDANTS_MAX, vaultId, name, id],
  );
  return countSeen(ctx, caller, rows);
}

/** The secrets of other vaults that point into this one: see `countDependants`. */
export async function countDependantsOfVault(
  ctx: VaultContext,
  db: Queryable,
  caller: Caller,
  vaultId: string,
): Promise<Dependants> {
  const rows = await db.query<Dependant>(
    `${DEPENDANTS}
        and r.target_vault_id = $3
        and s.vault_id <> $3
      limit $2`,
    [principalOf(caller), DEPENDANTS_MAX, vaultId],
  );
  return countSeen(ctx, caller, rows);
}

type Dependant = { name: string } & NoGrantColumns;

// The names of the secrets with a reference that can be read, and the caller's grants where they are.
const DEPENDANTS = `select s.name, g.owner, g.secrets, g.keys, g.allowed_cidrs, g.path_prefix, g.expires_at
       from secret_reference r
       join secret s on s.id = r.secret_id and s.current_version = r.version
       join secret_version e on e.secret_id = r.secret_id and e.version = r.version
       join vault v on v.id = s.vault_id
       left join vault_grant g on g.vault_id = v.id and g.principal = $1
      where e.deleted_at is null
        and e.ciphertext is not null`;

function countSeen(ctx: VaultContext, caller: Caller, rows: Dependant[]): Dependants {
  const seen = rows.filter((row) => mayList(ctx, caller, { granted: toGrantedOrNone(row), name: row.name }));
  return { all: rows.length, seen: seen.length };
}

/** The reason in the record of a deletion. The readers of the log may see all names. Undefined without references. */
export function reasonOf({ all }: Dependants): string | undefined {
  if (all === 0) return undefined;
  return `${all === DEPENDANTS_MAX ? 'at least ' : ''}${all} references point to it`;
}
