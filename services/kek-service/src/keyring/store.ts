import type { KeyringDocument } from './format.ts';

/** Where the keyring is kept. Nothing in it is authenticated until it is opened. */
export interface KeyringStore {
  /**
   * The newest document, and whether the audit log has its records.
   * @throws StartError if it is missing, damaged, or older than one that was there before
   */
  read(): Promise<{ document: KeyringDocument; isRecorded: boolean }>;
  /**
   * Replaces the document by its next generation if it still is of `expectedGeneration`. Resolves once that is durable; a
   * crash at any moment leaves the old one or the new one, whole.
   * @throws AppError `conflict` if another process has replaced it, `unavailable` if there is no room for it: then nothing
   * has changed
   */
  replace(expectedGeneration: number, document: KeyringDocument): Promise<void>;
  /** Remembers that the audit log has the records of this generation and of all before it. */
  markRecorded(generation: number): Promise<void>;
}
