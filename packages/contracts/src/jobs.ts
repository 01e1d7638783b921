import { z } from 'zod';

/** Every job there is and what its payload may hold: ids only, never a value or a key. */
export const jobPayloads = {
  /** Sends again what a crash left in the outbox. */
  'outbox.relay': z.strictObject({}),
  /** Deletes sessions that have ended and counts nobody needs any more. */
  'session.sweep': z.strictObject({}),
  /** Closes the accounts whose end has passed. */
  'user.sweep': z.strictObject({}),
  /** Destroys what has ended, announces what soon will, and empties the trash of what has lain in it for long. */
  'secret.sweep': z.strictObject({}),
  /** Removes what deleted vaults held. */
  'vault.sweep': z.strictObject({}),
  /** Deletes events that are old. */
  'event.sweep': z.strictObject({}),
  /** Makes a new token signing key when the newest is old, and forgets those no token can name any more. */
  'signing-key.rotate': z.strictObject({}),
};

export type JobName = keyof typeof jobPayloads;
export type JobPayload<N extends JobName> = z.output<(typeof jobPayloads)[N]>;
