import type { VaultContext } from '../context.ts';
import { RotationStopped } from './rotation-run.ts';
import type { RotationRun } from './rotation-run.ts';
import { setFinished } from './rotation-vault-store.ts';

/** Notes that nothing is left to do in a vault, and how many rows did not open. @throws RotationStopped */
export async function finishVault(
  { db }: Pick<VaultContext, 'db'>,
  run: RotationRun,
  { vaultId, failed }: { vaultId: string; failed: number },
): Promise<void> {
  const finished = await db.transaction((tx) => setFinished(tx, run, { vaultId, failed }));
  if (!finished) throw new RotationStopped('the claim was lost');
}
