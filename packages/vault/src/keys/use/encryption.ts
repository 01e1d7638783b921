import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { AppError } from '@cardea/contracts/errors';
import { randomOctets } from '@cardea/crypto/ids';
import type { VaultContext } from '../../context.ts';
import type { KeyInUse } from './key-in-use.ts';
import { openWith, sealWith } from './seal-and-open.ts';
import type { Opened, Plain, Sealed } from './seal-and-open.ts';
import { useKey } from './use-key.ts';
import type { Items } from './use-key.ts';
import type { UsedKeyRef } from './use-rows.ts';

/** What a call of `encrypt` gives. */
export type PlainItem = Omit<Plain, 'atSeconds'>;

/** A ciphertext, and the version that made it. */
export interface Ciphertext {
  ciphertext: string;
  keyVersion: number;
}

/** Encrypts. @throws as `useKey` and `sealWith` */
export function encrypt(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<PlainItem>,
): Promise<Audited<(Ciphertext | AppError)[]>> {
  const atSeconds = secondsOf(ctx);
  const work = (key: KeyInUse, item: PlainItem) => sealWith(key, { ...item, atSeconds });
  return useKey(
    ctx,
    caller,
    ref,
    { action: 'key.encrypt', operation: 'encrypt', rights: ['key.encrypt'], work },
    items,
  );
}

/** Decrypts. The plaintexts are in memory of their own. @throws as `useKey` and `openWith` */
export function decrypt(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<Sealed>,
): Promise<Audited<(Opened | AppError)[]>> {
  const nowSeconds = secondsOf(ctx);
  const work = (key: KeyInUse, item: Sealed) => openWith(key, item, nowSeconds);
  return useKey(
    ctx,
    caller,
    ref,
    { action: 'key.decrypt', operation: 'decrypt', rights: ['key.decrypt'], work },
    items,
  );
}

/** A ciphertext that is encrypted again. */
export interface RewrapItem extends Omit<Sealed, 'ttlSeconds'> {
  /** Undefined keeps the associated data. */
  newAssociatedData: Uint8Array | undefined;
}

/**
 * Encrypts again under the newest version; a Fernet token keeps its time. With other associated data, the right to
 * decrypt is needed too: a ciphertext that was made for one purpose would otherwise be decrypted for another.
 * @throws as `useKey`, `openWith` and `sealWith`
 */
export function rewrap(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<RewrapItem>,
): Promise<Audited<(Ciphertext | AppError)[]>> {
  const changesData = items.items.some(({ newAssociatedData }) => newAssociatedData !== undefined);
  const nowSeconds = secondsOf(ctx);
  return useKey(
    ctx,
    caller,
    ref,
    {
      action: 'key.rewrap',
      operation: 'encrypt',
      rights: changesData ? ['key.encrypt', 'key.decrypt'] : ['key.encrypt'],
      async work(key, { newAssociatedData, ...sealed }: RewrapItem) {
        const { plaintext, madeAtSeconds, keyVersion: openedVersion } = await openWith(key, sealed, nowSeconds);
        try {
          const associatedData = newAssociatedData ?? sealed.associatedData;
          const atSeconds = madeAtSeconds ?? nowSeconds;
          const plain = { plaintext, associatedData, context: sealed.context, atSeconds };
          return { ...(await sealWith(key, plain)), openedVersion };
        } finally {
          plaintext.fill(0);
        }
      },
    },
    items,
  );
}

/** A data key that is wanted. */
export interface DataKeyItem {
  bits: 128 | 256 | 512;
  associatedData: Uint8Array;
  context?: Uint8Array | undefined;
  keyVersion?: number | undefined;
}

/** A data key with its ciphertext. */
export interface DataKey extends Ciphertext {
  /** In memory of its own. The caller overwrites it. Empty if it is not to be shown. */
  plaintext: Uint8Array;
}

/**
 * Makes random data keys and encrypts them. Who may encrypt may do this: they could make the bytes themselves.
 * @throws as `useKey` and `sealWith`
 */
export function generateDataKeys(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  { showsPlaintext, ...items }: Items<DataKeyItem> & { showsPlaintext: boolean },
): Promise<Audited<(DataKey | AppError)[]>> {
  const atSeconds = secondsOf(ctx);
  return useKey(
    ctx,
    caller,
    ref,
    {
      action: showsPlaintext ? 'key.generateDataKey' : 'key.generateDataKeyWithoutPlaintext',
      operation: 'encrypt',
      rights: ['key.encrypt'],
      async work(key, { bits, ...rest }: DataKeyItem) {
        const plaintext = randomOctets(bits / 8);
        const sealed = await sealWith(key, { plaintext, ...rest, atSeconds });
        if (showsPlaintext) return { ...sealed, plaintext };
        plaintext.fill(0);
        return { ...sealed, plaintext: new Uint8Array(0) };
      },
    },
    items,
  );
}

function secondsOf(ctx: VaultContext): number {
  return Math.floor(ctx.now().getTime() / 1000);
}
