import type { DekRef } from '@cardea/contracts/kek-api';
import { systemContext } from '@cardea/crypto/context';
import { envelopeKeyVersion, open, seal } from '@cardea/crypto/envelope';
import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { SYSTEM_VAULT_ID, findNewestDekVersion, missingDek, useNewestDek } from './dek-store.ts';
import { openOrReread } from './open-or-reread.ts';
import type { StoredValue } from './open-or-reread.ts';
import { replaceEach } from './resealable.ts';
import type { OlderPage, OlderRow, Resealable } from './resealable.ts';

type Deks = Pick<VaultContext, 'deks'>;

/** Names a value that the system seals for itself: its kind, such as `totp`, and its id (I3). */
export interface SystemId {
  kind: string;
  id: string;
}

/** Seals under the system's newest DEK that the transaction sees. @throws DekNotLoaded */
export async function sealForSystem(
  ctx: Pick<VaultContext, 'deks' | 'now'>,
  tx: Transaction,
  { kind, id }: SystemId,
  bytes: Uint8Array,
): Promise<{ ciphertext: Uint8Array; dekVersion: number }> {
  const dekVersion = await useNewestDek(tx, SYSTEM_VAULT_ID, ctx.now().getTime());
  const dek = ctx.deks.get({ vaultId: SYSTEM_VAULT_ID, dekVersion });
  return { ciphertext: seal(dek, bytes, systemContext(kind, id)), dekVersion };
}

/** Opens a value of the system, into new memory. @throws AppError `sealed`, `unavailable`; IntegrityError */
export function openForSystem(ctx: Deks, { kind, id }: SystemId, stored: StoredValue): Promise<Uint8Array> {
  return openOrReread(stored, (ciphertext) =>
    ctx.deks.use(dekOf(ciphertext), (key) => open(key, ciphertext, systemContext(kind, id))),
  );
}

/** Opens a value of the system in a transaction, into new memory. @throws DekNotLoaded; IntegrityError */
export function openForSystemInTransaction(ctx: Deks, { kind, id }: SystemId, ciphertext: Uint8Array): Uint8Array {
  return open(ctx.deks.get(dekOf(ciphertext)), ciphertext, systemContext(kind, id));
}

/**
 * Loads the system's newest DEK. For work whose answer must be the same whether there is a value to open or not.
 * @throws AppError `sealed`, `unavailable`
 */
export async function requireUnsealed({ db, deks }: Pick<VaultContext, 'db' | 'deks'>): Promise<void> {
  const dekVersion = await findNewestDekVersion(db, SYSTEM_VAULT_ID);
  if (dekVersion === undefined) throw await missingDek(db, { vaultId: SYSTEM_VAULT_ID });
  await deks.load({ vaultId: SYSTEM_VAULT_ID, dekVersion });
}

/** The rows with the system's values of one kind. */
export interface SystemRows {
  listOlder(db: Queryable, dekVersion: number, page: OlderPage): Promise<OlderRow[]>;
  countOlder(db: Queryable, dekVersion: number): Promise<number>;
  isUsed(tx: Transaction, dekVersion: number): Promise<boolean>;
  /** Replaces the ciphertext `from` by `to`. Returns false and changes nothing if the row no longer has `from`. */
  replaceCiphertext(
    tx: Transaction,
    row: { id: string; from: Uint8Array; to: Uint8Array; dekVersion: number },
  ): Promise<boolean>;
}

/** The system's values of one kind, for the resealing after a rotation of the system's DEK. */
export function systemResealable(kind: string, rows: SystemRows): Resealable {
  return {
    kind,
    async listOlder(db, { vaultId, dekVersion }, page) {
      return vaultId === SYSTEM_VAULT_ID ? rows.listOlder(db, dekVersion, page) : [];
    },
    async countOlder(db, { vaultId, dekVersion }) {
      return vaultId === SYSTEM_VAULT_ID ? rows.countOlder(db, dekVersion) : 0;
    },
    async isUsed(tx, { vaultId, dekVersion }) {
      return vaultId === SYSTEM_VAULT_ID && rows.isUsed(tx, dekVersion);
    },
    reseal: (ctx, { id, ciphertext }, dek) => resealForSystem(ctx, { kind, id }, ciphertext, dek),
    replace: (_ctx, tx, page, { dekVersion }) =>
      replaceEach(page, (row) => rows.replaceCiphertext(tx, { ...row, dekVersion })),
  };
}

function resealForSystem(ctx: Deks, id: SystemId, ciphertext: Uint8Array, dek: DekRef): Uint8Array {
  const bytes = openForSystemInTransaction(ctx, id, ciphertext);
  try {
    return seal(ctx.deks.get(dek), bytes, systemContext(id.kind, id.id));
  } finally {
    bytes.fill(0);
  }
}

function dekOf(ciphertext: Uint8Array): DekRef {
  return { vaultId: SYSTEM_VAULT_ID, dekVersion: envelopeKeyVersion(ciphertext) };
}
