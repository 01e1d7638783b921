import type { JobHandlers, Queue } from '@cardea/jobs/queue';
import type { VaultContext } from './context.ts';
import { relayOutbox } from './outbox.ts';
import { sweepSessions } from './users/sign-in.ts';

/** What the jobs do. Every handler may run twice, and on any process. */
export function jobHandlers(ctx: VaultContext): JobHandlers {
  return {
    'outbox.relay': async () => {
      await relayOutbox(ctx);
    },
    'session.sweep': async () => {
      await sweepSessions(ctx);
    },
  };
}

/** What runs again and again. Due work lies in SQL; a schedule only looks for it. */
export async function scheduleJobs(queue: Queue): Promise<void> {
  await queue.every('outbox.relay', 10_000, {});
  await queue.every('session.sweep', 10 * 60_000, {});
}
