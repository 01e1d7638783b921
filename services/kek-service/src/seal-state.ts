import { AppError } from '@cardea/contracts/errors';
import type { Keyring } from './keyring.ts';

/** Whether the KEKs are in memory. */
export interface SealState {
  isSealed(): boolean;
  /** The open keyring. Used without an `await` in between, it cannot be closed meanwhile. @throws AppError `sealed` */
  keyring(): Keyring;
  open(keyring: Keyring): void;
  /** Overwrites the KEKs. */
  close(): void;
}

export function createSealState(keyring: Keyring | undefined): SealState {
  let current = keyring;
  return {
    isSealed: () => current === undefined,
    keyring() {
      if (!current) throw new AppError('sealed', 'kek-service is sealed: an operator must unseal it');
      return current;
    },
    open(keyring) {
      current?.close();
      current = keyring;
    },
    close() {
      current?.close();
      current = undefined;
    },
  };
}
