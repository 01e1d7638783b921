import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { VaultAction } from '@cardea/contracts/grants';
import { findGrantedIn } from '../access-store.ts';
import { authorize } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { decide } from '../decide.ts';
import { audited } from '../record.ts';
import { askedResource } from '../resource.ts';
import { whyApplicationStopped, whyElsewhere, whyUserStopped } from '../stopped-accounts.ts';
import { findPrincipal } from './grant-store.ts';
import type { Principal } from './grant-store.ts';
import type { GrantRef } from './grants.ts';

export interface Question extends GrantRef {
  action: VaultAction;
  name?: string | undefined;
  /** If it is undefined, networks are not checked. */
  ip?: string | undefined;
}

/** What the principal would meet: see `Decision`. The rule may also be that of an account that may not act. */
export interface Explanation {
  allowed: boolean;
  visible: boolean;
  rule: AuditRule;
}

/**
 * Tells an owner of the vault or an admin which rule decides about a question. It grants nothing. An owner gets an answer
 * about principals with a grant in the vault; about any other the answer is that of one that does not exist.
 * @throws AppError `not_found`
 */
export async function explainAccess(
  ctx: VaultContext,
  caller: Caller,
  question: Question,
): Promise<Audited<Explanation>> {
  const allowed = await authorize(ctx, caller, 'vault.manage', { vault: question.vault });
  const { vault, rule } = allowed;
  const found = await findPrincipal(ctx.db, question.principal);
  const granted = found && (await findGrantedIn(ctx.db, vault.name, found.principal))?.granted;
  if (!found) throw unknown('no-such-principal');
  if (!granted && caller.role !== 'admin') throw unknown('no-such-grant');
  const now = ctx.now().getTime();
  const { action, name, ip } = question;
  const stopped = whyStopped(found, { ip, now });
  const explanation: Explanation = stopped
    ? { allowed: false, visible: false, rule: stopped }
    : decide({ role: found.role, granted, action, name, ip, now });
  const resource = { ...askedResource(question), vaultId: vault.id };
  return audited(ctx, caller, [allowed], { action: 'access.explain', rule, resource }, () => explanation);
}

function unknown(rule: AuditRule): AppError {
  return new AppError('not_found', 'no such user or application, or it has no grant in this vault', { rule });
}

// Such an account is refused before anything is asked about the vault.
function whyStopped(found: Principal, { ip, now }: { ip: string | undefined; now: number }): AuditRule | undefined {
  if (found.role === undefined) {
    return whyApplicationStopped(found, now) ?? (ip === undefined ? undefined : whyElsewhere(found, ip));
  }
  return whyUserStopped(found, now) ?? (found.password_state === 'chosen' ? undefined : 'must-change-password');
}
