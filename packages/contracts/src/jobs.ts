import { z } from 'zod';

/** Every job there is and what its payload may hold: ids only, never a value or a key. */
export const jobPayloads = {
  /** Sends again what a crash left in the outbox. */
  'outbox.relay': z.strictObject({}),
  /** Deletes sessions that have ended. */
  'session.sweep': z.strictObject({}),
};

export type JobName = keyof typeof jobPayloads;
export type JobPayload<N extends JobName> = z.output<(typeof jobPayloads)[N]>;
