import { AppError } from '@cardea/contracts/errors';
import { withCause } from '@cardea/process/cause';
import type { Logger } from '@cardea/process/logger';
import { oncePerCause } from '@cardea/process/once-per-cause';
import type { VaultContext } from '@cardea/vault/context';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { ensureSigningKeys, findNewestSigningKey, findSigningKey } from '@cardea/vault/users/signing-keys';
import type { SigningKey } from '@cardea/vault/users/signing-keys';

/** The keys of tokens. They can be opened while kek-service answers and is not sealed. */
export interface TokenKeys {
  /** The key that signs access tokens. @throws AppError `sealed`, `unavailable` */
  newest(): Promise<SigningKey>;
  /** The key that verifies access tokens with this key id; undefined if it never existed or is deleted. */
  find(id: string): Promise<SigningKey | undefined>;
  /** The key that derives the successor of a refresh token. @throws AppError `sealed`, `unavailable` */
  refresh(): Promise<Uint8Array>;
  /** Opens the keys. Does nothing if they are open, if kek-service is sealed, or if it does not answer. */
  openIfPossible(): Promise<void>;
}

/**
 * While kek-service is sealed or down, the keys stay closed and calls that need one get `sealed` or `unavailable`. The
 * process starts anyway: otherwise it could not give these answers, and somebody would have to start it again by hand.
 */
export function createTokenKeys({ vault, logger }: { vault: VaultContext; logger: Logger }): TokenKeys {
  let access: { key: SigningKey; until: number } | undefined;
  let refreshKey: Uint8Array | undefined;
  const { failed } = oncePerCause((error) =>
    logger.warn(withCause('nobody can sign in until kek-service opens the key that signs tokens', error), { error }),
  );

  async function open(): Promise<SigningKey> {
    const now = vault.steadyMs();
    if (access && access.until > now) return access.key;
    if (!access) await ensureSigningKeys(vault);
    const key = (await findNewestSigningKey(vault, 'access'))!;
    // The process signs with this key for a minute before it looks for a newer one.
    access = { key, until: now + MINUTE_MS };
    return key;
  }

  return {
    newest: open,
    async find(id) {
      if (id === access?.key.id) return access.key;
      const newest = await open();
      return id === newest.id ? newest : findSigningKey(vault, id);
    },
    async refresh() {
      await open();
      refreshKey ??= (await findNewestSigningKey(vault, 'refresh'))!.key.export();
      return refreshKey;
    },
    async openIfPossible() {
      if (access) return;
      try {
        await open();
      } catch (error) {
        if (!(error instanceof AppError && (error.code === 'sealed' || error.code === 'unavailable'))) throw error;
        failed(error);
      }
    },
  };
}
