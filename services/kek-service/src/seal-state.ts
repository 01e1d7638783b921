import { AppError } from '@cardea/contracts/errors';
import type { Keyring } from './keyring/keyring.ts';

/** Whether the KEKs are in memory. */
export interface SealState {
  isSealed(): boolean;
  /** Returns the open keyring. It stays open until the next `await` of the caller. @throws AppError `sealed` */
  keyring(): Keyring;
  open(keyring: Keyring): void;
  /** Takes the next generation of the open keyring. If it was sealed meanwhile, it stays sealed. */
  replace(keyring: Keyring): void;
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
    open(next) {
      current?.close();
      current = next;
    },
    replace(next) {
      if (current) current.close();
      else next.close();
      current &&= next;
    },
    close() {
      current?.close();
      current = undefined;
    },
  };
}
