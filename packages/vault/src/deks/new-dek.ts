import type { DekRef } from '@cardea/contracts/kek-api';
import type { WrappedDek } from '@cardea/contracts/keks';
import { randomKey } from '@cardea/crypto/ids';
import type { VaultContext } from '../context.ts';

/** Makes a DEK and wraps it; the DEK itself is overwritten. @throws AppError `sealed`, `unavailable` */
export async function wrapNewDek(ctx: Pick<VaultContext, 'keks'>, ref: DekRef): Promise<WrappedDek> {
  const dek = randomKey();
  try {
    return await ctx.keks.wrap(ref, dek);
  } finally {
    dek.fill(0);
  }
}
