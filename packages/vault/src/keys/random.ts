import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { randomOctets } from '@cardea/crypto/ids';
import type { VaultContext } from '../context.ts';
import { audited } from '../record.ts';

/** Makes random bytes, in memory of their own. Everybody who has signed in may. */
export function generateRandom(
  ctx: VaultContext,
  caller: Caller,
  { bytes }: { bytes: number },
): Promise<Audited<Uint8Array>> {
  return audited(ctx, caller, 'signed-in', { action: 'random.generate', rule: 'signed-in' }, () => randomOctets(bytes));
}
