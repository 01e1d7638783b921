import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { hmacKey } from '@cardea/crypto/token-key';
import type { Queryable } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { changeSealed } from '../deks/change-sealed.ts';
import { DAY_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { SYSTEM_VAULT_ID, findNewestDekVersion, insertDek } from '../deks/dek-store.ts';
import { wrapNewDek } from '../deks/new-dek.ts';
import { openForSystem, sealForSystem } from '../deks/system-sealing.ts';
import { changed } from '../record.ts';
import { systemCaller } from '../system-caller.ts';

/** `access` signs access tokens; `refresh` derives a refresh token's successor. */
export type KeyPurpose = 'access' | 'refresh';

/** A secret key of the system, 32 bytes. It is stored under the envelope, like a secret. */
export interface SigningKey {
  /** An access token's `kid`. */
  id: string;
  key: ReturnType<typeof hmacKey>;
  createdAt: number;
}

/** The kind of these keys among the data that the system seals for itself. */
export const SIGNING_KEY_KIND = 'signing-key';

const ROTATE_AFTER_MS = DAY_MS;
/** A replaced access key is valid until its tokens have expired: 5 minutes, and another 5 for clocks that differ. */
const HONOURED_MS = 10 * MINUTE_MS;

/** Makes the system's DEK and its first keys, if there are none. */
export async function ensureSigningKeys(ctx: VaultContext): Promise<void> {
  await ensureSystemDek(ctx);
  for (const purpose of ['access', 'refresh'] as const) {
    if (!(await findNewestRow(ctx.db, purpose))) await addKey(ctx, purpose, { rule: 'first' });
  }
}

/** The newest key of a purpose. It signs new tokens. */
export async function findNewestSigningKey(
  ctx: Pick<VaultContext, 'db' | 'deks'>,
  purpose: KeyPurpose,
): Promise<SigningKey | undefined> {
  const row = await findNewestRow(ctx.db, purpose);
  return row && openKey(ctx, row);
}

/** The access key of a token's `kid`; undefined if it never existed or is deleted. */
export async function findSigningKey(
  ctx: Pick<VaultContext, 'db' | 'deks'>,
  id: string,
): Promise<SigningKey | undefined> {
  const [row] = await ctx.db.query<SigningKeyRow>(
    `select id, ciphertext, created_at
       from signing_key
      where id = $1
        and purpose = 'access'`,
    [id],
  );
  return row && openKey(ctx, row);
}

/**
 * Adds an access key once a day, and deletes the replaced keys whose tokens have all expired. The refresh key stays:
 * sessions end by themselves, and a new refresh key would only end all of them at once.
 */
export async function rotateSigningKeys(ctx: VaultContext): Promise<void> {
  const now = ctx.now().getTime();
  const newest = await findNewestSigningKey(ctx, 'access');
  if (newest && now - newest.createdAt >= ROTATE_AFTER_MS) await addKey(ctx, 'access', { rule: 'daily' });
  for (const { id } of await listReplacedKeys(ctx.db, now - HONOURED_MS)) await deleteKey(ctx, id);
}

/** The access keys that a newer key replaced before `before`. */
async function listReplacedKeys(db: Queryable, before: number): Promise<{ id: string }[]> {
  return db.query<{ id: string }>(
    `select id
       from signing_key
      where purpose = 'access'
        and id < (select max(k.id) from signing_key k where k.purpose = 'access' and k.created_at < $1)
      order by id`,
    [before],
  );
}

async function deleteKey(ctx: VaultContext, id: string): Promise<void> {
  await unlessDone(
    changed(ctx, systemCaller, async (tx) => {
      const deleted = await tx.query(`delete from signing_key where id = $1 returning id`, [id]);
      if (deleted.length === 0) throw new AlreadyDone();
      const resource = { name: id };
      const facts: EventFacts = { action: 'signingKey.delete', rule: 'replaced', reason: 'access', resource };
      return { value: undefined, facts };
    }),
  );
}

interface SigningKeyRow {
  id: string;
  ciphertext: Uint8Array;
  created_at: number;
}

async function findNewestRow(db: Queryable, purpose: KeyPurpose): Promise<SigningKeyRow | undefined> {
  const [row] = await db.query<SigningKeyRow>(
    `select id, ciphertext, created_at
       from signing_key
      where purpose = $1
      order by id desc
      limit 1`,
    [purpose],
  );
  return row;
}

async function addKey(ctx: VaultContext, purpose: KeyPurpose, { rule }: { rule: 'first' | 'daily' }): Promise<void> {
  const createdAt = ctx.now().getTime();
  const id = uuidv7(createdAt);
  const bytes = randomKey();
  const added = changeSealed(ctx, systemCaller, async (tx) => {
    // If processes start at the same time, only one makes the first key: two refresh keys would give two successors.
    if (rule === 'first' && (await findNewestRow(tx, purpose))) throw new AlreadyDone();
    const { ciphertext, dekVersion } = await sealForSystem(ctx, tx, { kind: SIGNING_KEY_KIND, id }, bytes);
    await tx.query(
      `insert into signing_key (id, purpose, ciphertext, dek_version, created_at)
       values ($1, $2, $3, $4, $5)`,
      [id, purpose, ciphertext, dekVersion, createdAt],
    );
    const resource = { name: id };
    const facts: EventFacts = { action: 'signingKey.create', rule, reason: purpose, resource, dekVersion };
    return { value: undefined, facts };
  });
  await unlessDone(added.finally(() => bytes.fill(0)));
}

async function openKey(ctx: Pick<VaultContext, 'db' | 'deks'>, row: SigningKeyRow): Promise<SigningKey> {
  const stored = { ciphertext: row.ciphertext, reread: () => findCiphertext(ctx.db, row.id) };
  const bytes = await openForSystem(ctx, { kind: SIGNING_KEY_KIND, id: row.id }, stored);
  const key = hmacKey(bytes);
  bytes.fill(0);
  return { id: row.id, key, createdAt: row.created_at };
}

async function findCiphertext(db: Queryable, id: string): Promise<Uint8Array | undefined> {
  const [row] = await db.query<{ ciphertext: Uint8Array }>(`select ciphertext from signing_key where id = $1`, [id]);
  return row?.ciphertext;
}

async function ensureSystemDek(ctx: VaultContext): Promise<void> {
  if (await hasSystemDek(ctx.db)) return;
  const wrapped = await wrapNewDek(ctx, { vaultId: SYSTEM_VAULT_ID, dekVersion: 1 });
  await unlessDone(
    changed(ctx, systemCaller, async (tx) => {
      if (await hasSystemDek(tx)) throw new AlreadyDone();
      await insertDek(tx, { vaultId: SYSTEM_VAULT_ID, dekVersion: 1 }, wrapped, ctx.now().getTime());
      const resource = { vaultId: SYSTEM_VAULT_ID };
      return { value: undefined, facts: { action: 'dek.create', rule: 'first', resource, dekVersion: 1 } };
    }),
  );
}

async function hasSystemDek(db: Queryable): Promise<boolean> {
  return (await findNewestDekVersion(db, SYSTEM_VAULT_ID)) !== undefined;
}

class AlreadyDone extends Error {
  override name = 'AlreadyDone';
}

// If another process was faster, its result is as good: this one changes nothing and records nothing.
async function unlessDone(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof AlreadyDone)) throw error;
  }
}
