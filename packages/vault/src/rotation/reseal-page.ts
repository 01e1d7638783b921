import { setImmediate as nextTurn } from 'node:timers/promises';
import { AppError } from '@cardea/contracts/errors';
import type { DekRef } from '@cardea/contracts/kek-api';
import { IntegrityError } from '@cardea/crypto/envelope';
import type { VaultContext } from '../context.ts';
import { DekNotLoaded } from '../deks/dek-cache.ts';
import { findNewestDekVersion } from '../deks/dek-store.ts';
import type { OlderPage, OlderRow, Resealable, Resealed } from '../deks/resealable.ts';
import { changeDue } from '../sweep.ts';
import type { DueChange } from '../sweep.ts';
import type { Failure, Failures } from './failures.ts';
import { noteFailures } from './note-failures.ts';
import { CLAIM_MS, RotationStopped, requireRunning, rotationCaller } from './rotation-run.ts';
import type { RotationRun } from './rotation-run.ts';
import { addProgress } from './rotation-vault-store.ts';
import { vaultResource } from './vault-resource.ts';

/** After so many rows, requests have their turn. Opening and sealing a row takes about 30 µs. */
const ROWS_PER_TURN = 16;

/** The vault got a newer DEK meanwhile. The page changed nothing. */
export class DekReplaced extends Error {
  override name = 'DekReplaced';
}

/** Rows of one kind as `Resealable.listOlder` listed them for `page`. */
export interface ListedPage {
  resealable: Resealable;
  dek: DekRef;
  page: OlderPage;
  rows: OlderRow[];
  failures: Failures;
}

/**
 * Seals the values of a page again under `dek`. Opens and seals outside of the transaction, which then only compares
 * and replaces: so it is short, and other writers wait for it only briefly.
 * @throws DekReplaced, RotationStopped; AppError `sealed`, `unavailable`, and `internal` if `dek` does not open
 */
export async function resealPage(ctx: VaultContext, run: RotationRun, listed: ListedPage): Promise<void> {
  run.pace.note(listed.dek.vaultId);
  await ctx.deks.load(listed.dek);
  const { resealed, failed } = await sealAgain(ctx, listed);
  if (resealed.length > 0) await replace(ctx, run, listed, resealed);
  if (failed.length > 0) await noteFailures(ctx, run, listed, failed);
}

async function sealAgain(
  ctx: VaultContext,
  { resealable, dek, rows, failures }: ListedPage,
): Promise<{ resealed: Resealed[]; failed: Failure[] }> {
  const resealed: Resealed[] = [];
  const failed: Failure[] = [];
  for (const [index, row] of rows.entries()) {
    if (failures.has(resealable.kind, row)) continue;
    const { id, version, ciphertext: from } = row;
    try {
      resealed.push({ id, version, from, to: await resealRow(ctx, { resealable, dek, failures }, row) });
    } catch (error) {
      if (!isDamage(error)) throw error;
      failed.push({ row, reason: error.message });
    }
    if (index % ROWS_PER_TURN === ROWS_PER_TURN - 1) await nextTurn();
  }
  return { resealed, failed };
}

async function resealRow(
  ctx: VaultContext,
  { resealable, dek, failures }: Pick<ListedPage, 'resealable' | 'dek' | 'failures'>,
  row: OlderRow,
): Promise<Uint8Array> {
  for (;;) {
    try {
      return resealable.reseal(ctx, row, dek);
    } catch (error) {
      if (!(error instanceof DekNotLoaded)) throw error;
      await loadOnce(ctx, error.ref, failures);
    }
  }
}

async function loadOnce(ctx: VaultContext, ref: DekRef, { ofDeks }: Failures): Promise<void> {
  if (ofDeks.has(ref.dekVersion)) throw ofDeks.get(ref.dekVersion);
  try {
    await ctx.deks.load(ref);
  } catch (error) {
    if (isDamage(error)) ofDeks.set(ref.dekVersion, error);
    throw error;
  }
}

function isDamage(error: unknown): error is Error {
  return error instanceof IntegrityError || (error instanceof AppError && error.suspicious === 'integrity_failure');
}

async function replace(
  ctx: VaultContext,
  run: RotationRun,
  { resealable, dek, failures }: ListedPage,
  resealed: Resealed[],
): Promise<void> {
  const { vaultId, dekVersion } = dek;
  let replaced = 0;
  const work: DueChange = async (tx, now) => {
    await requireRunning(tx, run.rotationId);
    if ((await findNewestDekVersion(tx, vaultId)) !== dekVersion) throw new DekReplaced();
    replaced = await resealable.replace(ctx, tx, resealed, dek);
    if (replaced === 0) return [];
    const progress = { vaultId, done: replaced, failed: failures.count, until: now + CLAIM_MS };
    if (!(await addProgress(tx, run, progress))) throw new RotationStopped('the claim was lost');
    const resource = { ...(await vaultResource(tx, vaultId)), count: replaced };
    return [{ action: 'dek.reseal', rule: 'rotation', reason: resealable.kind, resource, dekVersion }];
  };
  await changeDue(ctx, work, rotationCaller(run.rotationId));
  run.job.done(replaced);
}
