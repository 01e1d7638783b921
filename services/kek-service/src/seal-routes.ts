import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { seal, sealStatus, unseal } from '@cardea/contracts/kek-api';
import { IntegrityError } from '@cardea/crypto/envelope';
import { plainRoute } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import { recordSealChange } from './audit.ts';
import type { KekContext } from './context.ts';
import type { KeyringDocument } from './keyring/format.ts';
import type { Keyring } from './keyring/keyring.ts';
import { openBySealKey } from './open-at-start.ts';
import { derivePassphraseSealKey } from './seals/passphrase.ts';

/** Routes that open and close the keyring. The audit log has the record before either takes effect. */
export function sealRoutes(ctx: KekContext): Route[] {
  return [
    plainRoute(sealStatus, async () => {
      const { document } = await ctx.store.read();
      const seals = document.seals.map(({ id, type }) => ({ id, type }));
      return { body: { sealed: ctx.seal.isSealed(), seals } };
    }),

    plainRoute(unseal, async ({ caller, body }) => {
      await ctx.unsealAttempts.run(caller.actor.id, () => unsealKeyring(ctx, caller, body.passphrase));
      return { body: { sealed: ctx.seal.isSealed() } };
    }),

    plainRoute(seal, async ({ caller }) => {
      await recordSealChange(ctx, caller, seal.action);
      ctx.seal.close();
      return { body: { sealed: true } };
    }),
  ];
}

async function unsealKeyring(ctx: KekContext, caller: Caller, passphrase: string): Promise<void> {
  if (!ctx.seal.isSealed()) throw new AppError('conflict', 'the keyring is open');
  const { document } = await ctx.store.read();
  const keyring = await openWithPassphrase(document, passphrase);
  try {
    await recordSealChange(ctx, caller, unseal.action);
  } catch (error) {
    keyring.close();
    throw error;
  }
  ctx.seal.open(keyring);
}

async function openWithPassphrase(document: KeyringDocument, passphrase: string): Promise<Keyring> {
  const entries = document.seals.filter((entry) => entry.type === 'passphrase');
  if (entries.length === 0)
    throw new AppError(
      'conflict',
      'the keyring opens by no passphrase: restart kek-service, which reads the seal key at its start',
    );
  for (const entry of entries) {
    const sealKey = await derivePassphraseSealKey(passphrase, entry);
    try {
      return openBySealKey(sealKey, entry, document);
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
    }
  }
  throw new AppError('access_denied', 'the passphrase is wrong', { suspicious: 'wrong_passphrase' });
}
