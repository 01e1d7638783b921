import type { KeyVerb, SecretVerb } from '@cardea/contracts/grants';
import type { Queryable } from '@cardea/storage/db';
import type { Granted } from './decide.ts';

/** A vault, as `authorize` gives it to every feature that works in the vault. */
export interface VaultRow {
  id: string;
  name: string;
  description: string;
  /** How many versions are kept of a secret that has no limit of its own. */
  max_versions: number;
  created_at: number;
}

/** The vault with this name, and the grant of one principal in it. */
export async function findGrantedIn(
  db: Queryable,
  vaultName: string,
  principal: string,
): Promise<{ vault: VaultRow; granted: Granted | undefined } | undefined> {
  const [row] = await db.query<VaultRow & Nullable<GrantColumns>>(
    `select v.id, v.name, v.description, v.max_versions, v.created_at,
            g.owner, g.secrets, g.keys, g.allowed_cidrs, g.path_prefix, g.expires_at
       from vault v
       left join vault_grant g on g.vault_id = v.id and g.principal = $2
      where v.name = $1`,
    [vaultName, principal],
  );
  if (!row) return undefined;
  const { id, name, description, max_versions, created_at } = row;
  const granted = row.owner === null ? undefined : toGranted(row as GrantColumns);
  return { vault: { id, name, description, max_versions, created_at }, granted };
}

/** The columns of a grant. */
export interface GrantColumns {
  owner: number;
  secrets: string;
  keys: string;
  allowed_cidrs: string;
  path_prefix: string | null;
  expires_at: number | null;
}

type Nullable<T> = { [K in keyof T]: T[K] | null };

export function toGranted(row: GrantColumns): Granted {
  return {
    owner: row.owner === 1,
    secrets: JSON.parse(row.secrets) as SecretVerb[],
    keys: JSON.parse(row.keys) as KeyVerb[],
    allowedCidrs: JSON.parse(row.allowed_cidrs) as string[],
    pathPrefix: row.path_prefix ?? undefined,
    expiresAt: row.expires_at ?? undefined,
  };
}
