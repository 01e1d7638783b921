import type { DekRef, KekVersion } from './kek-api.ts';

/** A DEK as it is stored. Only kek-service can unwrap it. */
export interface WrappedDek {
  bytes: Uint8Array;
  kekVersion: number;
}

/** The key service, as the other services see it. @throws AppError `sealed` or `unavailable` */
export interface Keks {
  wrap(ref: DekRef, dek: Uint8Array): Promise<WrappedDek>;
  /**
   * `by` is the key of the caller who needs it, or undefined for Cardea itself.
   * @throws AppError `internal` if the wrapped DEK is not the DEK that `ref` names
   */
  unwrap(ref: DekRef, wrapped: WrappedDek, by?: string): Promise<Uint8Array>;
  /**
   * Wraps DEKs under the newest KEK and returns them in the same order. No DEK leaves the key service.
   * @throws AppError `internal` if one is not the DEK that its `ref` names: then none is rewrapped; RangeError for more
   * than DEKS_AT_ONCE_MAX
   */
  rewrap(deks: readonly { ref: DekRef; wrapped: WrappedDek }[]): Promise<WrappedDek[]>;
  /**
   * Makes a new KEK and returns its version. From then on only the new KEK wraps; older ones only unwrap. A request
   * with the id (a UUID) of an earlier request makes nothing and returns the version that was made then.
   */
  rotate(requestId: string): Promise<number>;
  /** All versions, including destroyed ones, the oldest first. */
  list(): Promise<KekVersion[]>;
  /**
   * Destroys a version. A DEK that it wraps can never be unwrapped again. Does nothing if it is destroyed already.
   * @throws AppError `conflict` for the newest version, `not_found` for one that never existed
   */
  destroy(version: number): Promise<void>;
}
