import type { DekRef, KekVersion } from './kek-api.ts';

/** A DEK as it is stored. Only kek-service can unwrap it. */
export interface WrappedDek {
  bytes: Uint8Array;
  kekVersion: number;
}

/** The key service, as the other services see it. @throws AppError `sealed` or `unavailable` */
export interface Keks {
  wrap(ref: DekRef, dek: Uint8Array): Promise<WrappedDek>;
  /** @throws AppError `internal` if the wrapped DEK is not the DEK that `ref` names */
  unwrap(ref: DekRef, wrapped: WrappedDek): Promise<Uint8Array>;
  /**
   * Wraps DEKs under the newest KEK and returns them in the same order. No DEK leaves the key service.
   * @throws AppError `internal` if one is not the DEK that its `ref` names: then none is rewrapped; RangeError for more
   * than DEKS_AT_ONCE_MAX
   */
  rewrap(deks: readonly { ref: DekRef; wrapped: WrappedDek }[]): Promise<WrappedDek[]>;
  /**
   * Makes a new KEK, which wraps from then on; the older ones only unwrap. Answers its version. A request with an id
   * (a UUID) that was used before makes nothing and answers the version that it made, whatever became of that since.
   */
  rotate(requestId: string): Promise<number>;
  /** Every version there is or was, the oldest first. */
  list(): Promise<KekVersion[]>;
  /**
   * Destroys a version: what it wraps never opens again. Does nothing if it is destroyed already.
   * @throws AppError `conflict` for the newest, `not_found` for one that never existed
   */
  destroy(version: number): Promise<void>;
}
