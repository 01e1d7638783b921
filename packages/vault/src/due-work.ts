import type { JobName } from '@cardea/contracts/jobs';
import type { JobRun } from '@cardea/jobs/queue';
import { applicationAnnouncements, applicationExpiries } from './applications/application-expiry.ts';
import { credentialAnnouncements, credentialExpiries } from './applications/credential-expiry.ts';
import type { VaultContext } from './context.ts';
import { grantAnnouncements, grantExpiries } from './grants/grant-expiry.ts';
import { keyDestructions, keyRotations } from './keys/schedule/key-sweep.ts';
import { findOldestUnsent } from './outbox.ts';
import { oldestDueRotation } from './rotation/rotation-schedule.ts';
import { secretAnnouncements, secretExpiries, versionExpiries } from './secrets/lifecycle/expiry.ts';
import { trashRetention } from './secrets/lifecycle/trash-sweep.ts';
import { sweep } from './sweep.ts';
import type { DueWork } from './sweep.ts';
import { userAnnouncements, userExpiries } from './users/user-expiry.ts';
import { findOldestDeletedVault } from './vaults/deleted-vault-store.ts';
import { findOldestDelivery } from './webhooks/delivery-store.ts';

/** Work of one kind that becomes due by itself. */
interface TimedWork {
  /** Does all that is due. @throws what `sweep` throws */
  sweep(ctx: VaultContext, run: JobRun): Promise<void>;
  /** Since when the oldest of it has been due, in milliseconds since 1970. Undefined if nothing is due. */
  oldest(ctx: VaultContext): Promise<number | undefined>;
}

/** The work of each job that sweeps, by its kind, in the order in which it is done. */
export const timedWork = {
  'application.sweep': {
    'application.announcement': timed(applicationAnnouncements),
    'application.expiry': timed(applicationExpiries),
    'credential.announcement': timed(credentialAnnouncements),
    'credential.expiry': timed(credentialExpiries),
  },
  'grant.sweep': {
    'grant.announcement': timed(grantAnnouncements),
    'grant.expiry': timed(grantExpiries),
  },
  'key.sweep': {
    'key.rotation': timed(keyRotations),
    'key.destruction': timed(keyDestructions),
  },
  'secret.sweep': {
    'secret.announcement': timed(secretAnnouncements),
    'secret.expiry': timed(secretExpiries),
    'version.expiry': timed(versionExpiries),
    'secret.trash': timed(trashRetention),
  },
  'user.sweep': {
    'user.announcement': timed(userAnnouncements),
    'user.expiry': timed(userExpiries),
  },
} satisfies Partial<Record<JobName, Record<string, TimedWork>>>;

function timed<T extends { at: number }>(due: DueWork<T>): TimedWork {
  return {
    sweep: (ctx, run) => sweep(ctx, due, run),
    async oldest(ctx) {
      const [first] = await due.list(ctx, { now: ctx.now().getTime(), after: undefined, limit: 1 });
      return first?.at;
    },
  };
}

/** Since when the oldest due work of a kind has been due, in milliseconds since 1970. Undefined if nothing is due. */
export interface OldestDue {
  kind: string;
  at: number | undefined;
}

/**
 * The oldest due work of every kind, for metrics and the status. Work that is due for much longer than a minute is late:
 * no process runs the jobs, or they fail, or there is very much to do.
 */
export async function oldestDue(ctx: VaultContext): Promise<OldestDue[]> {
  const kinds = Object.values(timedWork).flatMap((works) => Object.entries<TimedWork>(works));
  const found: OldestDue[] = [];
  for (const [kind, work] of kinds) found.push({ kind, at: await work.oldest(ctx) });
  found.push({ kind: 'vault.deletion', at: await findOldestDeletedVault(ctx.db) });
  found.push({ kind: 'outbox.record', at: await findOldestUnsent(ctx) });
  found.push({ kind: 'webhook.delivery', at: await findOldestDelivery(ctx.db, ctx.now().getTime()) });
  const { dek, kek } = await oldestDueRotation(ctx);
  found.push({ kind: 'rotation.dek', at: dek }, { kind: 'rotation.kek', at: kek });
  return found;
}
