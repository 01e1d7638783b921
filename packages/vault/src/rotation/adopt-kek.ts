import { changesBetween } from '@cardea/contracts/audit-changes';
import type { KekVersion } from '@cardea/contracts/kek-api';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import type { Queryable, Transaction } from '@cardea/storage/db';
import { principalOf } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { changeDue } from '../sweep.ts';
import { systemCaller } from '../system-caller.ts';
import { makeKek } from './rewrap-deks.ts';
import { rotationStarted } from './start-rotation.ts';
import {
  findOpenKekRotation,
  findRotation,
  findRotationOfKek,
  insertRotation,
  reopenRotation,
  setKekVersion,
} from './rotation-store.ts';
import { countDeksUnderOlderKeks, hasDekToRewrap } from './wrapped-dek-store.ts';

/**
 * Finds DEKs under an older KEK that no rotation looks after, and starts a rotation for them. There are some if the
 * database does not know the newest KEK of kek-service, because it was restored from a backup, or if a DEK was stored
 * just after its rotation had ended. A rotation that an admin has paused or cancelled stays as it is. Returns whether
 * a rotation has started.
 * @throws AppError `sealed`, `unavailable`
 */
export async function adoptKek(ctx: VaultContext): Promise<boolean> {
  const newest = (await ctx.keks.list()).filter(({ state }) => state === 'enabled').at(-1);
  if (!newest || !(await isLeft(ctx.db, newest.version))) return false;
  const asked = newest.requestId === null ? undefined : await findRotation(ctx.db, newest.requestId);
  if (asked?.kek_version === null) await makeKek(ctx, asked.id);
  const started = await changeDue(ctx, async (tx, now) => {
    if (!(await isLeft(tx, newest.version))) return [];
    const known = await findRotationOfKek(tx, newest.version);
    if (known) return known.state === 'finished' ? [await goOn(tx, known.id)] : [];
    return [await adopt(tx, newest, now)];
  });
  return started > 0;
}

async function isLeft(db: Queryable, kekVersion: number): Promise<boolean> {
  return !(await findOpenKekRotation(db)) && (await hasDekToRewrap(db, kekVersion));
}

async function goOn(tx: Transaction, id: string): Promise<EventFacts> {
  await reopenRotation(tx, id);
  const reason = 'kek: a DEK was stored under an older KEK';
  const changes = changesBetween({ state: 'finished' }, { state: 'running' });
  return { action: 'rotation.resume', rule: 'rotation-schedule', reason, resource: { name: id }, changes };
}

async function adopt(tx: Transaction, { version, requestId }: KekVersion, now: number): Promise<EventFacts> {
  const id = requestId ?? uuidv7(now);
  const startedBy = principalOf(systemCaller);
  await insertRotation(tx, { id, kind: 'kek', vaultId: null, startedAt: now, startedBy });
  await setKekVersion(tx, { id, kekVersion: version, total: await countDeksUnderOlderKeks(tx, version) });
  const reason = 'kek: kek-service has a KEK that the database did not know';
  return {
    action: 'rotation.start',
    rule: 'rotation-schedule',
    reason,
    resource: { name: id },
    changes: rotationStarted('kek'),
    kekVersion: version,
  };
}
