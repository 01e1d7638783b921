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
  /** 1 if everybody may read the public halves of its keys. */
  public_jwks: 0 | 1;
  created_at: number;
}

/** A vault, and the grant of one principal in it. */
export interface GrantedIn {
  vault: VaultRow;
  granted: Granted | undefined;
}

/** The vault with this name, and the grant of one principal in it. */
export async function findGrantedIn(
  db: Queryable,
  vaultName: string,
  principal: string,
): Promise<GrantedIn | undefined> {
  const [row] = await db.query<VaultRow & NoGrantColumns>(
    `select v.id, v.name, v.description, v.max_versions, v.public_jwks, v.created_at,
            g.owner, g.secrets, g.keys, g.allowed_cidrs, g.path_prefix, g.key_prefix, g.expires_at
       from vault v
       left join vault_grant g on g.vault_id = v.id and g.principal = $2
      where v.name = $1`,
    [vaultName, principal],
  );
  if (!row) return undefined;
  const { id, name, description, max_versions, public_jwks, created_at } = row;
  return { vault: { id, name, description, max_versions, public_jwks, created_at }, granted: toGrantedOrNone(row) };
}

/** The columns of a grant. */
export interface GrantColumns {
  owner: number;
  secrets: string;
  keys: string;
  allowed_cidrs: string;
  path_prefix: string | null;
  key_prefix: string | null;
  expires_at: number | null;
}

/** The columns of a grant from a `left join`. All are null if there is none. */
export type NoGrantColumns = { [K in keyof GrantColumns]: GrantColumns[K] | null };

export function toGrantedOrNone(row: NoGrantColumns): Granted | undefined {
  return row.owner === null ? undefined : toGranted(row as GrantColumns);
}

export function toGranted(row: GrantColumns): Granted {
  return {
    owner: row.owner === 1,
    secrets: JSON.parse(row.secrets) as SecretVerb[],
    keys: JSON.parse(row.keys) as KeyVerb[],
    allowedCidrs: JSON.parse(row.allowed_cidrs) as string[],
    pathPrefix: row.path_prefix ?? undefined,
    keyPrefix: row.key_prefix ?? undefined,
    expiresAt: row.expires_at ?? undefined,
  };
}
