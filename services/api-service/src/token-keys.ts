import { AppError } from '@cardea/contracts/errors';
import type { Logger } from '@cardea/process/logger';
import type { VaultContext } from '@cardea/vault/context';
import { MINUTE_MS } from '@cardea/vault/durations';
import { ensureSigningKeys, findNewestSigningKey, findSigningKey } from '@cardea/vault/users/signing-keys';
import type { SigningKey } from '@cardea/vault/users/signing-keys';

/** The keys of this installation's tokens. They open once kek-service lets them. */
export interface TokenKeys {
  /** What signs access tokens now. @throws AppError `sealed`, `unavailable` */
  newest(): Promise<SigningKey>;
  /** What verifies the access tokens that name it; undefined for a key that never was or is no longer honoured. */
  find(id: string): Promise<SigningKey | undefined>;
  /** What derives a refresh token's successor. @throws AppError `sealed`, `unavailable` */
  refresh(): Promise<Uint8Array>;
  /** Opens them, if they are not open yet and kek-service is there and not sealed. Otherwise does nothing. */
  openIfPossible(): Promise<void>;
}

/**
 * Without kek-service there are no keys yet, and all that needs one answers `sealed` or `unavailable`: a process that
 * would not start for that could not say so, and would have to be started by hand.
 */
export function createTokenKeys({ vault, logger }: { vault: VaultContext; logger: Logger }): TokenKeys {
  let access: { key: SigningKey; until: number } | undefined;
  let refreshKey: Uint8Array | undefined;

  async function open(): Promise<SigningKey> {
    const now = vault.now().getTime();
    if (access && access.until > now) return access.key;
    if (!access) await ensureSigningKeys(vault);
    const key = (await findNewestSigningKey(vault, 'access'))!;
    // This process signs by it for so long before it looks for a newer one.
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
        logger.warn('nobody can sign in until kek-service opens the key that signs tokens', {
          code: error.code,
          error,
        });
      }
    },
  };
}
