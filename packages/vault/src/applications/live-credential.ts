import type { AuditActor } from '@cardea/contracts/audit-event';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Queryable } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { whyApplicationStopped, whyElsewhere } from '../stopped-accounts.ts';
import { findApplicationById, findByCredentialId } from './application-store.ts';
import type { CredentialOwner } from './application-store.ts';

/** An application that has presented its secret. */
export interface AuthenticatedApplication {
  applicationId: string;
  credentialId: string;
}

/**
 * The application of a token's credential, as it is now.
 * @throws AppError `unauthenticated` if the credential was withdrawn, or the application may not be used now or from
 * there
 */
export async function callerOfCredential(
  ctx: { db: Queryable; now(): Date },
  stranger: Caller,
  { applicationId, credentialId }: AuthenticatedApplication,
): Promise<Caller> {
  return callerOfFoundCredential(ctx, stranger, {
    applicationId,
    owner: await findByCredentialId(ctx.db, credentialId),
  });
}

/** Like `callerOfCredential`, if the owner of the credential was looked up already. @throws AppError `unauthenticated` */
export async function callerOfFoundCredential(
  ctx: { db: Queryable; now(): Date },
  stranger: Caller,
  { applicationId, owner }: { applicationId: string; owner: CredentialOwner | undefined },
): Promise<Caller> {
  if (!owner) throw hasEnded('credential-withdrawn', await withoutCredential(ctx, applicationId));
  const caller = callerOf(stranger, owner);
  const rule = whyClosed(ctx, stranger, owner);
  if (rule !== undefined) throw hasEnded(rule, caller.actor);
  return caller;
}

// The application of a withdrawn credential; undefined if the application is deleted too.
async function withoutCredential({ db }: { db: Queryable }, id: string): Promise<AuditActor | undefined> {
  const application = await findApplicationById(db, id);
  return application && { id, type: 'application', name: application.name };
}

// One message for every rule: the holder of a stolen token must not learn from where, or until when, it was valid.
function hasEnded(rule: AuditRule, actor?: AuditActor): AppError {
  const message = 'the token is no longer valid, or it is not valid from this address';
  return new AppError('unauthenticated', message, { rule, ...(actor ? { actor } : {}) });
}

/** An application as the caller of a request. */
export function callerOf(stranger: Caller, { id, name, credential_id: credential }: CredentialOwner): Caller {
  return { ...stranger, actor: { credential, id, name, type: 'application' } };
}

/** The rule by which a credential may not be used now, or from there; undefined if it may. */
export function whyClosed(
  ctx: Pick<VaultContext, 'now'>,
  { source }: Caller,
  owner: CredentialOwner,
): AuditRule | undefined {
  const now = ctx.now().getTime();
  const stopped = whyApplicationStopped(owner, now);
  if (stopped !== undefined) return stopped;
  if (owner.credential_expires_at !== null && owner.credential_expires_at <= now) return 'credential-expired';
  return whyElsewhere(owner, source.ip ?? '');
}
