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
  /** Remembers that a seal opens the keyring. */
  prove(sealId: string): void;
  /** Whether a seal has opened the keyring since this process started. */
  isProven(sealId: string): boolean;
  /** Calls `listener` each time that the keyring was opened or closed. */
  onChange(listener: () => void): void;
}

export function createSealState(): SealState {
  let current: Keyring | undefined;
  const proven = new Set<string>();
  const listeners: (() => void)[] = [];

  function set(next: Keyring | undefined): void {
    const wasOpen = current !== undefined;
    current?.close();
    current = next;
    if (wasOpen !== (next !== undefined)) for (const listener of listeners) listener();
  }

  return {
    isSealed: () => current === undefined,
    keyring() {
      if (!current) throw new AppError('sealed', 'the keyring is sealed: an operator must unseal it');
      return current;
    },
    open: set,
    replace(next) {
      if (current) set(next);
      else next.close();
    },
    close: () => set(undefined),
    prove: (sealId) => void proven.add(sealId),
    isProven: (sealId) => proven.has(sealId),
    onChange: (listener) => void listeners.push(listener),
  };
}
