import type { JobHandlers, Queue } from '@cardea/jobs/queue';
import type { VaultContext } from './context.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from './durations.ts';
import { clearEvents, sweepEvents } from './events/events.ts';
import { relayOutbox } from './outbox.ts';
import { clearGivenUpNames, clearSecrets } from './secrets/clear-vault.ts';
import { announceExpiries, sweepExpired } from './secrets/lifecycle/expiry.ts';
import { sweepTrash } from './secrets/lifecycle/trash-sweep.ts';
import { runEach } from './sweep.ts';
import { sweepSessions } from './users/sessions.ts';
import { rotateSigningKeys } from './users/signing-keys.ts';
import { sweepExpiredUsers } from './users/users.ts';
import { sweepDeletedVaults } from './vaults/delete-vault.ts';
import type { ClearVault } from './vaults/delete-vault.ts';

/**
 * How each feature deletes the rows that outlive their vault. A feature with rows of its own adds its function here.
 * `clearGivenUpNames` comes after `clearSecrets`, because a deleted secret gives up its name.
 */
const clearings: readonly ClearVault[] = [clearSecrets, clearGivenUpNames, clearEvents];

/** What the jobs do. Every handler may run twice, and in any process. */
export function jobHandlers(ctx: VaultContext): JobHandlers {
  return {
    'outbox.relay': async () => {
      await relayOutbox(ctx);
    },
    'session.sweep': async () => {
      await sweepSessions(ctx);
    },
    'user.sweep': async () => {
      await sweepExpiredUsers(ctx);
    },
    'secret.sweep': async () => {
      await runEach([() => announceExpiries(ctx), () => sweepExpired(ctx), () => sweepTrash(ctx)]);
    },
    'vault.sweep': async () => {
      await sweepDeletedVaults(ctx, clearings);
    },
    'event.sweep': async () => {
      await sweepEvents(ctx);
    },
    'signing-key.rotate': async () => {
      await rotateSigningKeys(ctx);
    },
  };
}

/** The recurring jobs. Due work is in the database; a schedule only looks for it. */
export async function scheduleJobs(queue: Queue): Promise<void> {
  await queue.every('outbox.relay', 10 * SECOND_MS, {});
  await queue.every('session.sweep', 10 * MINUTE_MS, {});
  await queue.every('user.sweep', MINUTE_MS, {});
  await queue.every('secret.sweep', MINUTE_MS, {});
  await queue.every('vault.sweep', MINUTE_MS, {});
  await queue.every('event.sweep', HOUR_MS, {});
  await queue.every('signing-key.rotate', HOUR_MS, {});
}
