import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { VaultAction } from '@cardea/contracts/grants';
import { authorizeFound, principalOf } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { decide } from '../decide.ts';
import { listGrantsTo } from './grant-store.ts';
import type { Ground, Right } from '../right.ts';
import type { VaultGrant } from './grant-store.ts';

/** A grant, and the right that it gives. */
export interface LiveGrant extends VaultGrant {
  right: Right;
}

/**
 * The caller's grants that are valid now and from the caller's address, by vault. The decision is the same as for
 * reading one vault, so that a list and the vault itself never disagree.
 */
export async function listLiveGrants(
  ctx: VaultContext,
  caller: Caller,
  action: VaultAction = 'vault.read',
): Promise<LiveGrant[]> {
  const now = ctx.now().getTime();
  const { ip = 'unknown' } = caller.source;
  const grants = await listGrantsTo(ctx.db, principalOf(caller));
  return grants
    .filter((granted) => decide({ granted, action, ip, now }).allowed)
    .map((granted) => ({ ...granted, right: rightBy(ctx, caller, action, granted) }));
}

// One list shows many vaults, so the refusal names none of them.
function rightBy(ctx: VaultContext, caller: Caller, action: VaultAction, { vault, ...granted }: VaultGrant): Right {
  const right = authorizeFound(ctx, caller, action, { found: { vault, granted }, name: undefined });
  return {
    ...right,
    decidedAt: ctx.steadyMs(),
    confirm(now, found) {
      try {
        right.confirm(now, found);
      } catch (cause) {
        throw new AppError('access_denied', 'your rights have just changed: repeat the call', {
          rule: right.rule,
          cause,
        });
      }
    },
  };
}

/** The ground of a list of several vaults: `rights` are those by which the caller sees what it shows. */
export function groundOf(rights: Right[]): Ground {
  const [first, ...more] = new Set(rights);
  return first ? [first, ...more] : 'signed-in';
}
