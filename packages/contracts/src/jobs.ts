import { z } from 'zod';

/** The jobs and their payloads. A payload has ids only, never a value or a key. */
export const jobPayloads = {
  /** Sends the records that a crash left in the outbox. */
  'outbox.relay': z.strictObject({}),
  /** Deletes sessions that ended a week ago and counts that nobody needs any more. */
  'session.sweep': z.strictObject({}),
  /** Disables expired users and announces who expires soon. */
  'user.sweep': z.strictObject({}),
  /** The same for applications and their credentials. */
  'application.sweep': z.strictObject({}),
  /** Deletes expired grants and announces which expire soon. */
  'grant.sweep': z.strictObject({}),
  /** Destroys expired values, announces which expire soon, and purges what was in the trash for long enough. */
  'secret.sweep': z.strictObject({}),
  /** Makes due versions of keys, and destroys keys that were deleted. */
  'key.sweep': z.strictObject({}),
  /** Deletes the rows of deleted vaults. */
  'vault.sweep': z.strictObject({}),
  /** Deletes old events, and old counts of the uses of keys. */
  'event.sweep': z.strictObject({}),
  /** Makes a new signing key for access tokens once a day, and deletes keys whose tokens have all expired. */
  'signing-key.rotate': z.strictObject({}),
  /** Starts the rotations that are due, and the jobs of those that run. */
  'rotation.schedule': z.strictObject({}),
  /** Works on a rotation until it is finished, paused or cancelled. Several processes may work on the same one. */
  'rotation.run': z.strictObject({ rotationId: z.uuid() }),
  /** Sends the webhooks that are due. */
  'webhook.deliver': z.strictObject({}),
  /** Deletes what is kept of webhooks for a time only. */
  'webhook.sweep': z.strictObject({}),
};

export type JobName = keyof typeof jobPayloads;
export type JobPayload<N extends JobName> = z.output<(typeof jobPayloads)[N]>;
