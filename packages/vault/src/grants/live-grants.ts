import type { Caller } from '@cardea/contracts/caller';
import { principalOf } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { decide } from '../decide.ts';
import { listGrantsTo } from './grant-store.ts';
import type { VaultGrant } from './grant-store.ts';

/**
 * The caller's grants that are valid now and from the caller's address, by vault. The decision is the same as for
 * reading one vault, so that a list and the vault itself never disagree.
 */
export async function listLiveGrants(ctx: VaultContext, caller: Caller): Promise<VaultGrant[]> {
  const now = ctx.now().getTime();
  const { ip = 'unknown' } = caller.source;
  const grants = await listGrantsTo(ctx.db, principalOf(caller));
  return grants.filter((granted) => decide({ granted, action: 'vault.read', ip, now }).allowed);
}
