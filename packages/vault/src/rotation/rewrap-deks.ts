import { AppError } from '@cardea/contracts/errors';
import { DEKS_AT_ONCE_MAX } from '@cardea/contracts/kek-api';
import type { WrappedDek } from '@cardea/contracts/keks';
import type { VaultContext } from '../context.ts';
import { SYSTEM_VAULT_ID } from '../deks/dek-store.ts';
import { addEvents } from '../events/events.ts';
import { changeDue } from '../sweep.ts';
import type { DueChange } from '../sweep.ts';
import { finishRotation } from './finish-rotation.ts';
import { noteUnopened } from './note-unopened.ts';
import type { Unopened } from './note-unopened.ts';
import { requireRunning, rotationCaller } from './rotation-run.ts';
import type { RotationRun } from './rotation-run.ts';
import { addRewrapped, setKekVersion } from './rotation-store.ts';
import type { RotationRow } from './rotation-store.ts';
import { DEK_KIND, forgetRewrapped } from './unopened-store.ts';
import { vaultResource } from './vault-resource.ts';
import { FIRST_DEK, countDeksUnderOlderKeks, listDeksUnderOlderKeks, replaceWrappings } from './wrapped-dek-store.ts';
import type { OlderDek, Rewrapped } from './wrapped-dek-store.ts';

/**
 * Makes a new KEK, unless the rotation has made it already, and wraps every DEK under it. The DEKs do not leave
 * kek-service. A DEK that does not open stays under its old KEK.
 * @throws AppError `sealed`, `unavailable`; RotationStopped; the reason of `run.job.signal` if the process stops
 */
export async function rewrapAll(ctx: VaultContext, run: RotationRun, rotation: RotationRow): Promise<void> {
  const kekVersion = rotation.kek_version ?? (await makeKek(ctx, run.rotationId));
  const failed = new Set<string>();
  // A DEK that was wrapped under an old KEK may be stored after the pages passed its place.
  let found = true;
  while (found) found = await rewrapPages(ctx, run, kekVersion, failed);
  await ctx.db.transaction((tx) => forgetRewrapped(tx, kekVersion));
  await finishRotation(ctx, run.rotationId);
}

/**
 * Asks kek-service for the KEK of a rotation and notes its version. kek-service answers the same version to the same
 * rotation, so a crash before the note makes no second KEK.
 */
export async function makeKek(ctx: VaultContext, rotationId: string): Promise<number> {
  const kekVersion = await ctx.keks.rotate(rotationId);
  const total = await countDeksUnderOlderKeks(ctx.db, kekVersion);
  const work: DueChange = async (tx, now) => {
    if (!(await setKekVersion(tx, { id: rotationId, kekVersion, total }))) return [];
    const payload = { kekVersion };
    await addEvents(ctx, tx, [{ vaultId: SYSTEM_VAULT_ID, kind: 'kek.rotated', payload, at: now }]);
    return [{ action: 'kek.rotate', rule: 'rotation', kekVersion }];
  };
  await changeDue(ctx, work, rotationCaller(rotationId));
  return kekVersion;
}

// One pass over all DEKs. False if it found none but those that do not open.
async function rewrapPages(
  ctx: VaultContext,
  run: RotationRun,
  kekVersion: number,
  failed: Set<string>,
): Promise<boolean> {
  let after = FIRST_DEK;
  let found = false;
  for (;;) {
    run.job.signal.throwIfAborted();
    const page = await listDeksUnderOlderKeks(ctx.db, kekVersion, { after, limit: DEKS_AT_ONCE_MAX });
    const deks = page.filter((dek) => !failed.has(keyOf(dek)));
    if (deks.length > 0) {
      found = true;
      await rewrapPage(ctx, run, kekVersion, { deks, failed });
    }
    if (page.length < DEKS_AT_ONCE_MAX) return found;
    after = page.at(-1)!;
  }
}

async function rewrapPage(
  ctx: VaultContext,
  run: RotationRun,
  kekVersion: number,
  { deks, failed }: { deks: OlderDek[]; failed: Set<string> },
): Promise<void> {
  const { rewrapped, damaged } = await rewrap(ctx, deks);
  if (rewrapped.some((dek) => dek.kekVersion < kekVersion)) throw lostKek(kekVersion);
  for (const dek of damaged) failed.add(keyOf(dek));
  if (rewrapped.length > 0) await replace(ctx, run, rewrapped);
  if (damaged.length === 0) return;
  await noteDamaged(ctx, run.rotationId, damaged);
  await ctx.db.transaction((tx) => addRewrapped(tx, { id: run.rotationId, done: 0, failed: failed.size }));
}

function lostKek(kekVersion: number): AppError {
  const message = `kek-service does not know KEK ${kekVersion} any more: its keyring is older than the database`;
  return new AppError('internal', message, { rule: 'missing-kek', suspicious: 'integrity_failure' });
}

// kek-service refuses a page as a whole if one of its DEKs does not open. Then the page is halved until that DEK stands
// alone.
async function rewrap(ctx: VaultContext, deks: OlderDek[]): Promise<{ rewrapped: Rewrapped[]; damaged: OlderDek[] }> {
  try {
    const wrapped = await ctx.keks.rewrap(deks.map(toAsked));
    return { rewrapped: deks.map((dek, index) => toRewrapped(dek, wrapped[index]!)), damaged: [] };
  } catch (error) {
    if (!isDamage(error)) throw error;
    if (deks.length === 1) return { rewrapped: [], damaged: deks };
  }
  const halves = [deks.slice(0, deks.length >> 1), deks.slice(deks.length >> 1)];
  const [first, second] = [await rewrap(ctx, halves[0]!), await rewrap(ctx, halves[1]!)];
  return {
    rewrapped: [...first.rewrapped, ...second.rewrapped],
    damaged: [...first.damaged, ...second.damaged],
  };
}

function isDamage(error: unknown): boolean {
  return error instanceof AppError && error.suspicious === 'integrity_failure';
}

function toAsked({ vault_id: vaultId, version: dekVersion, wrapped: bytes, kek_version: kekVersion }: OlderDek) {
  return { ref: { vaultId, dekVersion }, wrapped: { bytes, kekVersion } };
}

function toRewrapped({ vault_id: vaultId, version, wrapped: from }: OlderDek, to: WrappedDek): Rewrapped {
  return { vaultId, version, from, to: to.bytes, kekVersion: to.kekVersion };
}

async function replace(ctx: VaultContext, run: RotationRun, page: Rewrapped[]): Promise<void> {
  const { rotationId: id } = run;
  let done = 0;
  const work: DueChange = async (tx) => {
    await requireRunning(tx, id);
    done = await replaceWrappings(tx, ctx.db.engine, page);
    if (done === 0) return [];
    await addRewrapped(tx, { id, done });
    return [{ action: 'dek.rewrap', rule: 'rotation', resource: { count: done }, kekVersion: page[0]!.kekVersion }];
  };
  await changeDue(ctx, work, rotationCaller(id));
  run.job.done(done);
}

async function noteDamaged(ctx: VaultContext, rotationId: string, damaged: OlderDek[]): Promise<void> {
  const found: Unopened[] = [];
  for (const { vault_id, version, kek_version: kekVersion } of damaged) {
    const resource = await vaultResource(ctx.db, vault_id);
    const reason = `KEK ${kekVersion} does not open the DEK`;
    found.push({
      row: { kind: DEK_KIND, vault_id, id: vault_id, version, dek_version: null, name: null, reason },
      facts: { action: 'dek.rewrap', reason: 'a DEK does not open', resource, dekVersion: version, kekVersion },
    });
  }
  await noteUnopened(ctx, rotationId, found);
}

function keyOf({ vault_id, version }: Pick<OlderDek, 'vault_id' | 'version'>): string {
  return `${vault_id} ${version}`;
}
