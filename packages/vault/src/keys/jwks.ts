import { SECOND_MS } from '@cardea/contracts/durations';
import { sha256Hex } from '@cardea/crypto/ids';
import { keyAlgorithms } from '@cardea/crypto/keys/key-algorithms';
import type { KeyAlgorithm } from '@cardea/crypto/keys/key-algorithms';
import type { Queryable } from '@cardea/storage/db';
import { pauseIfLong } from '@cardea/storage/long-work';
import type { VaultRow } from '../access-store.ts';
import type { VaultContext } from '../context.ts';
import { beginOpening } from '../deks/opening.ts';
import { vaultNotThere } from '../not-there.ts';
import { findVaultWithPublicJwks } from '../vaults/vault-store.ts';
import { toPublicHalf } from './key.ts';
import { openKeyMaterial } from './key-sealing.ts';
import type { KeyRow } from './key-store.ts';
import type { KeyVersionRow } from './key-version-store.ts';

/** A JWK Set as it is sent, with its entity tag. */
export interface Jwks {
  text: string;
  tag: string;
}

const KEYS_MAX = 1_000;
const VAULTS_MAX = 1_000;
// The public half is not stored: somebody could put another in its place. So each is opened, and strangers may ask all day.
const KEPT_MS = 10 * SECOND_MS;

const pairs = (Object.keys(keyAlgorithms) as KeyAlgorithm[]).filter((name) => !('keyBytes' in keyAlgorithms[name]));

/** Reads the JWK Sets of vaults that are public. The function throws AppError `not_found` for any other vault; `sealed`. */
export function createJwksReader(ctx: VaultContext): (vaultName: string) => Promise<Jwks> {
  const kept = new Map<string, { made: Promise<Jwks>; until: number }>();
  return async (vaultName) => {
    const vault = await findVaultWithPublicJwks(ctx.db, vaultName);
    if (!vault) throw vaultNotThere();
    const known = kept.get(vault.id);
    if (known && known.until > ctx.steadyMs()) return known.made;
    if (kept.size >= VAULTS_MAX) kept.clear();
    const made = makeJwks(ctx, vault);
    kept.set(vault.id, { made, until: ctx.steadyMs() + KEPT_MS });
    made.catch(() => kept.delete(vault.id));
    return made;
  };
}

async function makeJwks(ctx: VaultContext, vault: Pick<VaultRow, 'id' | 'name'>): Promise<Jwks> {
  // Material that strangers ask for takes no place from that of callers.
  const unkept = { ...ctx.keyMaterials, use: <T>(_row: object, open: () => Promise<T>) => open() };
  const opening = { ...beginOpening(ctx), keyMaterials: unkept };
  const keys: Record<string, string>[] = [];
  for (const { id: keyId, ciphertext, ...row } of await listVerifying(ctx.db, vault.id)) {
    // All that strangers ask counts as one caller.
    await pauseIfLong('jwks');
    const { publicKey } = await openKeyMaterial(opening, { vault, keyId, ...row }, ciphertext!);
    keys.push(toPublicHalf(row, publicKey)!.jwk);
  }
  const text = JSON.stringify({ keys });
  return { text, tag: sha256Hex(text) };
}

type VerifyingRow = Pick<KeyRow, 'id' | 'name' | 'algorithm' | 'exportable' | 'derivation'> &
  Pick<KeyVersionRow, 'version' | 'ciphertext'>;

/** The enabled versions of key pairs that still verify, the newest first. */
async function listVerifying(db: Queryable, vaultId: string): Promise<VerifyingRow[]> {
  return db.query<VerifyingRow>(
    `select k.id, k.name, k.algorithm, k.exportable, k.derivation, v.version, v.ciphertext
       from vault_key k
       join key_version v on v.key_id = k.id
      where k.vault_id = $1
        and k.delete_at is null
        and k.algorithm in (${pairs.map((_, index) => `$${index + 3}`).join(', ')})
        and v.state = 'enabled'
        and v.version >= k.min_decrypt_version
      order by v.created_at desc, k.name, v.version desc
      limit $2`,
    [vaultId, KEYS_MAX, ...pairs],
  );
}
