import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { seal, sealStatus, unseal } from '@cardea/contracts/kek-api';
import { IntegrityError } from '@cardea/crypto/envelope';
import { plainRoute } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import { recordSealChange } from './audit.ts';
import type { KekContext } from './context.ts';
import type { KeyringFile } from './keyring-format.ts';
import { openKeyring } from './keyring.ts';
import type { Keyring } from './keyring.ts';
import { deriveRootKey } from './seals/passphrase.ts';

/** Opening and closing the keyring. Both are in the audit log before they take effect. */
export function sealRoutes(ctx: KekContext): Route[] {
  return [
    plainRoute(sealStatus, async () => ({
      body: { sealed: ctx.seal.isSealed(), type: ctx.keyringFile.seal.type },
    })),

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
  const keyring = await openWithPassphrase(ctx.keyringFile, passphrase);
  try {
    await recordSealChange(ctx, caller, unseal.action);
  } catch (error) {
    keyring.close();
    throw error;
  }
  ctx.seal.open(keyring);
}

async function openWithPassphrase(file: KeyringFile, passphrase: string): Promise<Keyring> {
  if (file.seal.type === 'file') {
    throw new AppError(
      'conflict',
      'the seal is a file, which is read at start: restart kek-service to open the keyring',
    );
  }
  const rootKey = await deriveRootKey(passphrase, file.seal);
  try {
    return openKeyring(rootKey, file);
  } catch (cause) {
    if (!(cause instanceof IntegrityError)) throw cause;
    throw new AppError('access_denied', 'the passphrase is wrong', { cause, suspicious: 'wrong_passphrase' });
  } finally {
    rootKey.destroy();
  }
}
