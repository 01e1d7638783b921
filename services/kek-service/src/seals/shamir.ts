import { AppError } from '@cardea/contracts/errors';
import { toBase64 } from '@cardea/crypto/encoding';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import { randomKey, sha256 } from '@cardea/crypto/ids';
import { combine, split } from 'shamir-secret-sharing';
import type { KeyringDocument, SealOf } from '../keyring/format.ts';
import { ONLY_VERSION, toKey } from '../keyring/keyring.ts';
import type { NewSeal } from './new-seal.ts';
import { formatShare, parseShare, setIdOf } from './share-text.ts';
import type { Share } from './share-text.ts';

type ShamirSeal = SealOf<'shamir'>;

/**
 * Splits a random seal key into shares, of which any `threshold` make it. The shares are texts to be given to people,
 * and are kept nowhere: the keyring has a hash of each.
 */
export async function makeShamirSeal(
  sealId: string,
  { shares, threshold }: { shares: number; threshold: number },
): Promise<NewSeal & { shareTexts: string[] }> {
  const key = randomKey();
  const parts = await split(key, shares, threshold);
  const setId = setIdOf(sealId);
  const shareTexts = parts.map((bytes, at) => formatShare({ setId, threshold, index: at + 1, bytes }));
  const shareHashesBase64 = parts.map(hashOf);
  for (const part of parts) part.fill(0);
  return { sealKey: toKey(ONLY_VERSION, key), fields: { type: 'shamir', threshold, shareHashesBase64 }, shareTexts };
}

/**
 * Reads a share and finds its seal.
 * @throws AppError `invalid_request` for a typing error; `access_denied` for a share of no seal of this keyring, or one
 * that is not as it was given out: the message names it
 */
export function findShare({ seals }: KeyringDocument, typed: string): { entry: ShamirSeal; share: Share } {
  const share = parse(typed);
  const entry = seals.find((seal): seal is ShamirSeal => seal.type === 'shamir' && setIdOf(seal.id) === share.setId);
  if (!entry) throw wrongShare(`share ${share.index} of set ${share.setId} is of no seal of this keyring`);
  const isGenuine =
    share.threshold === entry.threshold && entry.shareHashesBase64[share.index - 1] === hashOf(share.bytes);
  if (!isGenuine) throw wrongShare(`share ${share.index} of set ${share.setId} is not as it was given out`);
  return { entry, share };
}

/** The seal key that shares make, if they are enough and each is genuine. */
export async function combineShares(shares: Uint8Array[]): Promise<EnvelopeKey> {
  return toKey(ONLY_VERSION, await combine(shares));
}

function parse(typed: string): Share {
  try {
    return parseShare(typed);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new AppError('invalid_request', cause.message, { cause });
  }
}

function hashOf(bytes: Uint8Array): string {
  return toBase64(sha256(bytes));
}

function wrongShare(message: string): AppError {
  return new AppError('access_denied', message, { suspicious: 'wrong_share' });
}
