import { sha256Hex } from '@cardea/crypto/ids';
import type { Db } from '@cardea/storage/db';

/** One version as it is stored in the database. */
export interface StoredVersion {
  vaultId: string;
  /** `<vault>/secrets/<name>` */
  path: string;
  name: string;
  currentVersion: number;
  version: number;
  ciphertextSha256: string;
}

/** The content of api-service's database. */
export interface StoredState {
  versions: StoredVersion[];
  vaultIds: string[];
}

interface VersionRow {
  vault_id: string;
  vault: string;
  name: string;
  current_version: number;
  version: number;
  ciphertext: Uint8Array;
}

/** Reads the content of api-service's database while the service runs. */
export async function readStored(db: Db): Promise<StoredState> {
  const rows = await db.query<VersionRow>(
    `select v.id as vault_id, v.name as vault, s.name, s.current_version, sv.version, sv.ciphertext
       from secret s
       join vault v on v.id = s.vault_id
       join secret_version sv on sv.secret_id = s.id
      order by v.id, s.name, sv.version`,
  );
  const versions = rows.map((row) => ({
    vaultId: row.vault_id,
    path: `${row.vault}/secrets/${row.name}`,
    name: row.name,
    currentVersion: row.current_version,
    version: row.version,
    ciphertextSha256: sha256Hex(row.ciphertext),
  }));
  const vaultIds = await db.query<{ id: string }>('select id from vault');
  return { versions, vaultIds: vaultIds.map((row) => row.id) };
}
