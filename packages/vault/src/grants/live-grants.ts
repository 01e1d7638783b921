import type { Caller } from '@cardea/contracts/caller';
import { principalOf } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { decide } from '../decide.ts';
import { listGrantsTo } from './grant-store.ts';
import type { VaultGrant } from './grant-store.ts';

/**
 * What the caller was granted and holds now, from where they are, by vault. By the same decision as reading one of the
 * vaults, so that a list and the vault itself never tell different stories.
 */
export async function listLiveGrants(ctx: VaultContext, caller: Caller): Promise<VaultGrant[]> {
  const now = ctx.now().getTime();
  const { ip = 'unknown' } = caller.source;
  const grants = await listGrantsTo(ctx.db, principalOf(caller));
  return grants.filter((granted) => decide({ granted, action: 'vault.read', ip, now }).allowed);
}
