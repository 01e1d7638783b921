import type { EnvelopeKey } from '@cardea/crypto/envelope';
import type { SealEntry } from '../keyring/format.ts';
import { wrapRootKey } from '../keyring/keyring.ts';

type Common = 'id' | 'createdAt' | 'wrappedRootKeyBase64';
type OwnFields<Entry> = Entry extends SealEntry ? Omit<Entry, Common> : never;

/** A seal that is not in a keyring yet. */
export interface NewSeal {
  sealKey: EnvelopeKey;
  fields: OwnFields<SealEntry>;
}

/** Wraps the root key for a new seal, and overwrites its seal key. `createdAt` is RFC 3339 UTC. */
export function enterSeal(
  { sealKey, fields }: NewSeal,
  rootKey: EnvelopeKey,
  { id, createdAt }: { id: string; createdAt: string },
): SealEntry {
  try {
    return { ...fields, id, createdAt, wrappedRootKeyBase64: wrapRootKey(sealKey, rootKey, id) };
  } finally {
    sealKey.destroy();
  }
}
