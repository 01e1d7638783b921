import { setTimeout as sleep } from 'node:timers/promises';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { VaultContext } from '../context.ts';
import { findNewestDekVersion } from '../deks/dek-store.ts';
import { FIRST_ROW } from '../deks/resealable.ts';
import type { Resealable } from '../deks/resealable.ts';
import { allResealables } from '../resealables.ts';
import { destroyUnusedDeks } from './destroy-deks.ts';
import { createFailures } from './failures.ts';
import type { Failures } from './failures.ts';
import { finishVault } from './finish-vault.ts';
import { DekReplaced, resealPage } from './reseal-page.ts';
import { RotationStopped } from './rotation-run.ts';
import type { RotationRun } from './rotation-run.ts';
import { forgetUnopened, listUnopenedOf } from './unopened-store.ts';

/** How many rows one page has. Its record fits into the audit log, and its values into 1 MiB. */
const PAGE = 128;

/**
 * How long the work rests after a page, as a share of the time that the page took. In profile mini, the pages run in
 * the process that answers requests. In profile full, they use the same PostgreSQL.
 */
const REST = 0.5;

/**
 * Seals every value of a vault again under its newest DEK, page by page, and destroys the older DEKs. Rows that do not
 * open stay as they are and keep their DEK. A vault that is deleted meanwhile is finished.
 * @throws AppError `sealed`, `unavailable`; RotationStopped; the reason of `run.job.signal` if the process stops
 */
export async function resealVault(ctx: VaultContext, run: RotationRun, vaultId: string): Promise<void> {
  try {
    await resealRows(ctx, run, vaultId);
  } catch (error) {
    if (error instanceof RotationStopped || (await findNewestDekVersion(ctx.db, vaultId)) !== undefined) throw error;
    await finishVault(ctx, run, { vaultId, failed: 0 });
  }
}

async function resealRows(ctx: VaultContext, run: RotationRun, vaultId: string): Promise<void> {
  const failures = createFailures();
  let isDone = false;
  while (!isDone) {
    const dekVersion = await findNewestDekVersion(ctx.db, vaultId);
    if (dekVersion === undefined) break;
    const dek = { vaultId, dekVersion };
    isDone = await nothingLeft(ctx, run, dek, failures);
  }
  await forgetReopened(ctx, vaultId, failures);
  await finishVault(ctx, run, { vaultId, failed: failures.count });
}

// A write that began under an old DEK may commit after the pages passed its row. Then the DEK is still used, and the
// pages begin again.
async function nothingLeft(ctx: VaultContext, run: RotationRun, dek: DekRef, failures: Failures): Promise<boolean> {
  try {
    for (const resealable of allResealables) await resealKind(ctx, run, { resealable, dek, failures });
  } catch (error) {
    if (error instanceof DekReplaced) return false;
    throw error;
  }
  const kept = await destroyUnusedDeks(ctx, run, dek);
  return kept.every((version) => failures.keepDek(version));
}

interface Kind {
  resealable: Resealable;
  dek: DekRef;
  failures: Failures;
}

async function resealKind(ctx: VaultContext, run: RotationRun, kind: Kind): Promise<void> {
  let after = FIRST_ROW;
  for (;;) {
    const began = performance.now();
    const page = { after, limit: PAGE };
    const rows = await kind.resealable.listOlder(ctx.db, kind.dek, page);
    if (rows.length > 0) await resealPage(ctx, run, { ...kind, page, rows });
    if (rows.length < PAGE) return;
    after = rows.at(-1)!;
    run.job.signal.throwIfAborted();
    await sleep((performance.now() - began) * REST);
  }
}

// A row may open again, after somebody has put a backup of it back, or it may be gone.
async function forgetReopened({ db }: Pick<VaultContext, 'db'>, vaultId: string, failures: Failures): Promise<void> {
  const reopened = (await listUnopenedOf(db, vaultId)).filter((row) => !failures.has(row.kind, row));
  if (reopened.length === 0) return;
  await db.transaction(async (tx) => {
    for (const row of reopened) await forgetUnopened(tx, row);
  });
}
