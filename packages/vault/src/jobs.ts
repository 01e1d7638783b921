import type { JobName } from '@cardea/contracts/jobs';
import type { JobHandlers, JobRun, Queue } from '@cardea/jobs/queue';
import { sweepExpiredCredentials } from './applications/credential-expiry.ts';
import type { VaultContext } from './context.ts';
import { timedWork } from './due-work.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { clearEvents, sweepEvents } from './events/events.ts';
import { sweepMessages } from './kek-webhook/sweep-messages.ts';
import { clearKeys } from './keys/clear-keys.ts';
import { sweepKeyUses } from './keys/schedule/key-sweep.ts';
import { clearImportJobs } from './keys/transfer/import-job-store.ts';
import { sweepImportJobs } from './keys/transfer/import-jobs.ts';
import { relayOutbox } from './outbox.ts';
import { scheduleRotations } from './rotation/rotation-schedule.ts';
import { runRotation } from './rotation/run-rotation.ts';
import { clearUnopened } from './rotation/unopened-store.ts';
import { clearGivenUpNames, clearSecrets } from './secrets/clear-vault.ts';
import { runEach } from './sweep.ts';
import { sweepSessions } from './users/sessions.ts';
import { rotateSigningKeys } from './users/signing-keys.ts';
import { sweepDeletedVaults } from './vaults/delete-vault.ts';
import type { ClearVault } from './vaults/delete-vault.ts';
import { deliverWebhooks } from './webhooks/deliver.ts';
import { sweepDeliveries } from './webhooks/sweep-deliveries.ts';

/**
 * How each feature deletes the rows that outlive their vault. A feature with rows of its own adds its function here.
 * `clearGivenUpNames` comes after `clearSecrets`, because a deleted secret gives up its name.
 */
const clearings: readonly ClearVault[] = [
  clearSecrets,
  clearGivenUpNames,
  clearKeys,
  clearImportJobs,
  clearEvents,
  clearUnopened,
];

/** What the jobs do. Every handler may run twice, and in any process. */
export function jobHandlers(ctx: VaultContext): JobHandlers {
  const sweeps = (works: Sweeping[]) => (_payload: object, run: JobRun) =>
    runEach(
      run,
      works.map((work) => () => work(ctx, run)),
    );
  return {
    'outbox.relay': async (_payload, run) => {
      await relayOutbox(ctx, run);
    },
    'session.sweep': sweeps([sweepSessions]),
    'user.sweep': sweeps(sweepsOf('user.sweep')),
    'application.sweep': sweeps([...sweepsOf('application.sweep'), sweepExpiredCredentials]),
    'grant.sweep': sweeps(sweepsOf('grant.sweep')),
    'secret.sweep': sweeps(sweepsOf('secret.sweep')),
    'key.sweep': sweeps(sweepsOf('key.sweep')),
    'vault.sweep': async (_payload, run) => {
      await sweepDeletedVaults(ctx, clearings, run);
    },
    'event.sweep': sweeps([sweepEvents, sweepKeyUses, sweepImportJobs]),
    'signing-key.rotate': async () => {
      await rotateSigningKeys(ctx);
    },
    'rotation.schedule': async () => {
      await scheduleRotations(ctx);
    },
    'rotation.run': async ({ rotationId }, run) => {
      await runRotation(ctx, rotationId, run);
    },
    'webhook.deliver': (_payload, run) => deliverWebhooks(ctx, run),
    'webhook.sweep': sweeps([sweepDeliveries, sweepMessages]),
  };
}

type Sweeping = (ctx: VaultContext, run: JobRun) => Promise<void>;

function sweepsOf(job: keyof typeof timedWork): Sweeping[] {
  return Object.values(timedWork[job]).map(({ sweep }) => sweep);
}

/**
 * The jobs that several processes run at the same time, and how many of them each process. Their work is claimed in the
 * database. All other jobs run one at a time in all processes together.
 */
export const jobConcurrency: Partial<Record<JobName, number>> = { 'rotation.run': 2, 'webhook.deliver': 1 };

/** The recurring jobs. Due work is in the database; a schedule only looks for it. */
export async function scheduleJobs(queue: Queue): Promise<void> {
  // All at once: if Redis does not answer, the queue still knows each of them, and registers it when Redis is back.
  await Promise.all([
    queue.every('outbox.relay', 10 * SECOND_MS, {}),
    queue.every('session.sweep', 10 * MINUTE_MS, {}),
    queue.every('user.sweep', MINUTE_MS, {}),
    queue.every('application.sweep', MINUTE_MS, {}),
    queue.every('grant.sweep', MINUTE_MS, {}),
    queue.every('secret.sweep', MINUTE_MS, {}),
    queue.every('key.sweep', MINUTE_MS, {}),
    queue.every('vault.sweep', MINUTE_MS, {}),
    queue.every('event.sweep', HOUR_MS, {}),
    queue.every('signing-key.rotate', HOUR_MS, {}),
    queue.every('rotation.schedule', MINUTE_MS, {}),
    queue.every('webhook.deliver', 5 * SECOND_MS, {}),
    queue.every('webhook.sweep', 10 * MINUTE_MS, {}),
  ]);
}
