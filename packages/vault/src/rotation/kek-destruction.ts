import { changesBetween, noChanges } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { KekVersion } from '@cardea/contracts/kek-api';
import type { Queryable, Transaction } from '@cardea/storage/db';
import { authorizeSystem, principalOf } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { audited, changed } from '../record.ts';
import { noteWait } from '../right.ts';
import { countDeksByKek, countDeksUnder } from './wrapped-dek-store.ts';

/** A version of the KEK, and how many DEKs it wraps. */
export type ListedKek = KekVersion & { deks: number };

/** The versions of the KEK, the oldest first. For admins, and for oversight. @throws AppError `access_denied` */
export async function listKeks(ctx: VaultContext, caller: Caller): Promise<Audited<ListedKek[]>> {
  const right = authorizeSystem(ctx, caller, 'rotation.read');
  noteWait(caller);
  const versions = await ctx.keks.list();
  const deks = await countDeksByKek(ctx.db);
  const items = versions.map((kek) => ({ ...kek, deks: deks.get(kek.version) ?? 0 }));
  return audited(
    ctx,
    caller,
    [right],
    { action: 'kek.list', rule: right.rule, resource: { count: items.length } },
    () => items,
  );
}

/**
 * Destroys a KEK that wraps no DEK any more. The database notes it first, and from then on stores no DEK under it. If
 * kek-service does not answer then, the schedule asks it again. A backup from before the rotation does not open any
 * more.
 * @throws AppError `conflict` with the count if the KEK wraps DEKs, or if it is the newest; `not_found`; `sealed`,
 * `unavailable`
 */
export async function destroyKek(ctx: VaultContext, caller: Caller, version: number): Promise<Audited<undefined>> {
  const { rule } = authorizeSystem(ctx, caller, 'rotation.manage');
  const kek = (await ctx.keks.list()).find((one) => one.version === version);
  if (!kek) throw new AppError('not_found', 'no such KEK', { rule: 'no-such-kek' });
  if (kek.state === 'enabled') throw new AppError('conflict', 'the newest KEK is in use', { rule: 'kek-in-use' });
  const destroyed = await changed(ctx, caller, async (tx) => {
    const deks = await countDeksUnder(tx, version);
    if (deks > 0) throw inUse(deks);
    const isNew = await askFor(tx, { version, at: ctx.now().getTime(), by: principalOf(caller) });
    const changes = isNew ? changesBetween({ state: kek.state }, { state: 'destroyed' }) : noChanges;
    return { value: undefined, facts: { action: 'kek.destroy', rule, changes, kekVersion: version } };
  });
  await finish(ctx, version);
  return destroyed;
}

function inUse(deks: number): AppError {
  const message = `the KEK wraps ${deks === 1 ? '1 DEK' : `${deks} DEKs`}: rotate the KEK first`;
  return new AppError('conflict', message, { rule: 'kek-in-use', resource: { count: deks } });
}

/** Destroys the KEKs whose destruction is noted, and that kek-service may still have. */
export async function finishDestructions(ctx: VaultContext): Promise<void> {
  for (const version of await listOpen(ctx.db)) await finish(ctx, version);
}

async function finish(ctx: VaultContext, version: number): Promise<void> {
  await ctx.keks.destroy(version);
  await ctx.db.transaction((tx) => setDone(tx, version, ctx.now().getTime()));
}

async function askFor(tx: Transaction, ask: { version: number; at: number; by: string }): Promise<boolean> {
  const rows = await tx.query(
    `insert into kek_destruction (kek_version, asked_at, asked_by)
     values ($1, $2, $3)
     on conflict do nothing
     returning kek_version`,
    [ask.version, ask.at, ask.by],
  );
  return rows.length > 0;
}

async function listOpen(db: Queryable): Promise<number[]> {
  const rows = await db.query<{ kek_version: number }>(
    `select kek_version
       from kek_destruction
      where done_at is null
      order by kek_version`,
  );
  return rows.map(({ kek_version: version }) => version);
}

async function setDone(tx: Transaction, version: number, at: number): Promise<void> {
  await tx.query(`update kek_destruction set done_at = coalesce(done_at, $2) where kek_version = $1`, [version, at]);
}
