import { AppError } from '@cardea/contracts/errors';

/** A sealed value as it was read, and how its row is read again. */
export interface StoredValue {
  ciphertext: Uint8Array;
  /** The row's ciphertext now; null or undefined if it has none any more. */
  reread(): Promise<Uint8Array | null | undefined>;
}

/**
 * Opens a value outside of a transaction. A rotation may reseal the row and destroy its old DEK after the row was read:
 * then `open` gets the new ciphertext.
 * @throws what `open` throws
 */
export async function openOrReread(
  { ciphertext, reread }: StoredValue,
  open: (ciphertext: Uint8Array) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  try {
    return await open(ciphertext);
  } catch (error) {
    if (!isMissingDek(error)) throw error;
    const now = await reread();
    if (!now || Buffer.compare(now, ciphertext) === 0) throw error;
    return await open(now);
  }
}

/** Whether an error says that a DEK does not exist or is destroyed: see `missingDek`. */
export function isMissingDek(error: unknown): boolean {
  return error instanceof AppError && error.rule === 'missing-dek';
}
