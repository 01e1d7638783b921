import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Progress } from '@cardea/contracts/seal-api';
import { IntegrityError } from '@cardea/crypto/envelope';
import { recordSealChange } from './audit.ts';
import type { KekContext } from './context.ts';
import type { KeyringDocument } from './keyring/format.ts';
import { openBySealKey } from './open-at-start.ts';
import type { Opened } from './open-at-start.ts';
import { derivePassphraseSealKey } from './seals/passphrase.ts';
import { combineShares, findShare } from './seals/shamir.ts';

/**
 * Opens the keyring by a passphrase. If it is open, proves that the passphrase would.
 * @throws AppError `access_denied` if the passphrase is wrong, `conflict` if no seal takes one, `unavailable`
 */
export async function unsealByPassphrase(ctx: KekContext, caller: Caller, passphrase: string): Promise<void> {
  const { document } = await ctx.store.read();
  await openOrProve(ctx, caller, await openByPassphrase(document, passphrase));
}

/**
 * Takes a share. Once there are enough, opens the keyring; if it is open, proves that they would.
 * @throws AppError `invalid_request`, `access_denied` as `findShare`; `unavailable`
 */
export async function unsealByShare(ctx: KekContext, caller: Caller, typed: string): Promise<Progress> {
  const { document } = await ctx.store.read();
  const { entry, share } = findShare(document, typed);
  const progress = ctx.givenShares.add(entry, share);
  if (progress.given < progress.needed) return progress;

  const shares = ctx.givenShares.take(entry.id);
  try {
    const keyring = openBySealKey(await combineShares(shares), entry, document);
    await openOrProve(ctx, caller, { keyring, sealId: entry.id });
  } finally {
    for (const bytes of shares) bytes.fill(0);
  }
  return progress;
}

async function openByPassphrase(document: KeyringDocument, passphrase: string): Promise<Opened> {
  const entries = document.seals.filter((entry) => entry.type === 'passphrase');
  if (entries.length === 0) {
    throw new AppError('conflict', 'the keyring opens by no passphrase; a seal key and a token open it at a restart');
  }
  for (const entry of entries) {
    const sealKey = await derivePassphraseSealKey(passphrase, entry);
    try {
      return { keyring: openBySealKey(sealKey, entry, document), sealId: entry.id };
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
    }
  }
  throw new AppError('access_denied', 'the passphrase is wrong', { suspicious: 'wrong_passphrase' });
}

// In turn with changes of the keyring: what was opened may have been replaced meanwhile.
function openOrProve(ctx: KekContext, caller: Caller, { keyring, sealId }: Opened): Promise<void> {
  return ctx.inTurn(async () => {
    try {
      const { document } = await ctx.store.read();
      if (document.generation !== keyring.document.generation) {
        throw new AppError('conflict', 'the keyring was changed just now: try again');
      }
      const isSealed = ctx.seal.isSealed();
      await recordSealChange(ctx, caller, isSealed ? 'seal.open' : 'seal.prove', sealId);
      // An operator may have sealed it while the record was written: then it stays sealed.
      if (isSealed) ctx.seal.open(keyring);
      else keyring.close();
      ctx.seal.prove(sealId);
    } catch (error) {
      keyring.close();
      throw error;
    }
  });
}
