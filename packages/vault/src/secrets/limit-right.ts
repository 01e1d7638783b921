import { joinRules } from '@cardea/contracts/audit-rules';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { authorize } from '../authorize.ts';
import type { Allowed } from '../authorize.ts';
import type { VaultContext } from '../context.ts';

/** The right to lower the limit of versions in a write, or the refusal of it. */
export interface LimitRight {
  /** To be confirmed in the transaction. Empty if it was refused, or is not needed. */
  rights: Allowed[];
  refusal: AppError | undefined;
}

/**
 * Looks for the right to lower the limit of versions of a secret: `delete`, because the next write destroys the versions
 * over the limit. Every call that can set the limit asks for it. Only the transaction of the write sees whether the limit
 * becomes lower (`requireLimitRight`). A grant covers the names that it lets its holder write, so one name of several
 * stands for all.
 */
export async function findLimitRight(
  ctx: VaultContext,
  caller: Caller,
  on: { vault: string; name: string | undefined },
): Promise<LimitRight> {
  if (on.name === undefined) return { rights: [], refusal: undefined };
  try {
    return { rights: [await authorize(ctx, caller, 'secret.delete', on)], refusal: undefined };
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'access_denied')) throw error;
    return { rights: [], refusal: error };
  }
}

/** The rule of a write that lowers the limit from `before` to `after`. @throws AppError `access_denied` */
export function requireLimitRight(
  right: LimitRight | undefined,
  rule: AuditRule,
  { before, after }: { before: number; after: number },
): AuditRule {
  if (after >= before) return rule;
  if (!right) throw new TypeError('nobody has looked for the right to lower the limit of versions');
  if (right.refusal) throw right.refusal;
  return joinRules([rule, ...right.rights.map((one) => one.rule)]);
}
