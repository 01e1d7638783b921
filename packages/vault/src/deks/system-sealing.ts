import type { DekRef } from '@cardea/contracts/kek-api';
import { systemContext } from '@cardea/crypto/context';
import { envelopeKeyVersion, open, seal } from '@cardea/crypto/envelope';
import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { SYSTEM_VAULT_ID, getNewestDekVersion } from './dek-store.ts';
import type { OlderPage, Resealable, SealedRow } from './resealable.ts';

type Deks = Pick<VaultContext, 'deks'>;

/** Names a value that the system seals for itself: its kind, such as `totp`, and its id (I3). */
export interface SystemId {
  kind: string;
  id: string;
}

/** Seals under the system's newest DEK that the transaction sees. @throws DekNotLoaded */
export async function sealForSystem(
  ctx: Deks,
  tx: Transaction,
  { kind, id }: SystemId,
  bytes: Uint8Array,
): Promise<{ ciphertext: Uint8Array; dekVersion: number }> {
  const dekVersion = await getNewestDekVersion(tx, SYSTEM_VAULT_ID);
  const dek = ctx.deks.get({ vaultId: SYSTEM_VAULT_ID, dekVersion });
  return { ciphertext: seal(dek, bytes, systemContext(kind, id)), dekVersion };
}

/** Opens a value of the system, into new memory. @throws AppError `sealed`, `unavailable`; IntegrityError */
export function openForSystem(ctx: Deks, { kind, id }: SystemId, ciphertext: Uint8Array): Promise<Uint8Array> {
  const dek = { vaultId: SYSTEM_VAULT_ID, dekVersion: envelopeKeyVersion(ciphertext) };
  return ctx.deks.use(dek, (key) => open(key, ciphertext, systemContext(kind, id)));
}

/** The rows with the system's values of one kind. */
export interface SystemRows {
  listOlder(db: Queryable, dekVersion: number, page: OlderPage): Promise<SealedRow[]>;
  /** The ciphertext of a row; undefined if it is no longer sealed under `row.dek_version`. */
  findCiphertext(tx: Transaction, row: SealedRow): Promise<Uint8Array | undefined>;
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
    async reseal(ctx, tx, row, dek) {
      const from = await rows.findCiphertext(tx, row);
      if (!from) return false;
      const to = resealForSystem(ctx, { kind, id: row.id }, from, dek);
      return rows.replaceCiphertext(tx, { id: row.id, from, to, dekVersion: dek.dekVersion });
    },
  };
}

function resealForSystem(ctx: Deks, { kind, id }: SystemId, ciphertext: Uint8Array, dek: DekRef): Uint8Array {
  const context = systemContext(kind, id);
  const older = ctx.deks.get({ vaultId: SYSTEM_VAULT_ID, dekVersion: envelopeKeyVersion(ciphertext) });
  const bytes = open(older, ciphertext, context);
  try {
    return seal(ctx.deks.get(dek), bytes, context);
  } finally {
    bytes.fill(0);
  }
}
