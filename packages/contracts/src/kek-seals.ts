import type { NewSeal, Seal, SealRequest } from './seal-api.ts';

/** The seals of the key service, as those who manage them see it. @throws AppError `unavailable`; to change them `sealed` */
export interface KekSeals {
  /** The oldest first. */
  list(): Promise<Seal[]>;
  /**
   * Adds a seal by an id (a UUID) that the caller chooses.
   * @throws AppError `conflict` if the id is taken, or there is a seal of a kind of which there may be one
   */
  add(id: string, request: SealRequest): Promise<NewSeal>;
  /** @throws AppError `not_found`; `conflict` for the last seal, or if no other one is known to open the keyring */
  remove(id: string): Promise<void>;
  /** Lets a service unwrap again. @throws AppError `conflict` if it is not frozen, or was let go on too short ago */
  unfreeze(peer: 'api-service' | 'worker', reason: string): Promise<void>;
}
