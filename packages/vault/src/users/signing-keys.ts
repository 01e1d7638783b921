import type { Db } from '@cardea/storage/db';
import { systemContext } from '@cardea/crypto/context';
import { envelopeKeyVersion, open, seal } from '@cardea/crypto/envelope';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { hmacKey } from '@cardea/crypto/token-key';
import type { VaultContext } from '../context.ts';
import { findNewestDekVersion, insertDek } from '../vaults/dek-store.ts';
import { wrapNewDek } from '../vaults/vaults.ts';

/** The DEK chain of what the system keeps for itself. No vault can have this id: it lies before the epoch of UUIDv7. */
const SYSTEM_VAULT_ID = '00000000-0000-7000-8000-000000000001';

/** A key that signs access tokens. */
export interface SigningKey {
  /** The token's `kid`. */
  id: string;
  key: ReturnType<typeof hmacKey>;
}

/** The newest key that signs access tokens, made if there is none. It is stored under the envelope, like a secret. */
export async function ensureSigningKey(ctx: VaultContext): Promise<SigningKey> {
  await ensureSystemDek(ctx);
  const existing = await findNewestSigningKey(ctx);
  if (existing) return existing;

  const id = uuidv7(ctx.now().getTime());
  const bytes = randomKey();
  const dekVersion = (await findNewestDekVersion(ctx.db, SYSTEM_VAULT_ID))!;
  const ciphertext = await ctx.deks.use({ vaultId: SYSTEM_VAULT_ID, dekVersion }, (dek) =>
    seal(dek, bytes, systemContext('signing-key', id)),
  );
  bytes.fill(0);
  await ctx.db.query(`insert into signing_key (id, ciphertext, created_at) values ($1, $2, $3)`, [
    id,
    ciphertext,
    ctx.now().getTime(),
  ]);
  // Another process may have made one at the same time: all of them use the newest.
  return (await findNewestSigningKey(ctx))!;
}

/** A key by the `kid` of a token; undefined for one that never was or is no longer honoured. */
export async function findSigningKey(
  ctx: Pick<VaultContext, 'db' | 'deks'>,
  id: string,
): Promise<SigningKey | undefined> {
  return openKey(ctx, await findRow(ctx.db, `select id, ciphertext from signing_key where id = $1`, [id]));
}

async function findNewestSigningKey(ctx: VaultContext): Promise<SigningKey | undefined> {
  return openKey(ctx, await findRow(ctx.db, `select id, ciphertext from signing_key order by id desc limit 1`, []));
}

interface SigningKeyRow {
  id: string;
  ciphertext: Uint8Array;
}

async function findRow(db: Db, sql: string, params: string[]): Promise<SigningKeyRow | undefined> {
  const [row] = await db.query<SigningKeyRow>(sql, params);
  return row;
}

async function openKey(
  ctx: Pick<VaultContext, 'deks'>,
  row: SigningKeyRow | undefined,
): Promise<SigningKey | undefined> {
  if (!row) return undefined;
  const dek = { vaultId: SYSTEM_VAULT_ID, dekVersion: envelopeKeyVersion(row.ciphertext) };
  const bytes = await ctx.deks.use(dek, (key) => open(key, row.ciphertext, systemContext('signing-key', row.id)));
  const key = hmacKey(bytes);
  bytes.fill(0);
  return { id: row.id, key };
}

async function ensureSystemDek(ctx: VaultContext): Promise<void> {
  if ((await findNewestDekVersion(ctx.db, SYSTEM_VAULT_ID)) !== undefined) return;
  const wrapped = await wrapNewDek(ctx, SYSTEM_VAULT_ID);
  await ctx.db.transaction(async (tx) => {
    // Another process may have been first; its DEK is as good.
    if ((await findNewestDekVersion(tx, SYSTEM_VAULT_ID)) !== undefined) return;
    await insertDek(tx, { vaultId: SYSTEM_VAULT_ID, dekVersion: 1 }, wrapped, ctx.now().getTime());
  });
}
