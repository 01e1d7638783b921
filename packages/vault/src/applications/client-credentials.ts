import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { isInside } from '@cardea/contracts/cidr';
import { AppError } from '@cardea/contracts/errors';
import { credentialHash, isCredential } from '@cardea/crypto/credential';
import type { VaultContext } from '../context.ts';
import { changed } from '../record.ts';
import { findByCredentialId, findBySecretHash, touchCredential } from './application-store.ts';
import type { CredentialOwner } from './application-store.ts';

/** An application that has shown its secret. */
export interface AuthenticatedApplication {
  applicationId: string;
  credentialId: string;
}

/**
 * Checks an application's secret (RFC 6749, 4.4). It has 256 random bits, so a plain SHA-256 is enough and a lookup by
 * it tells nothing by its time.
 * @throws AppError `unauthenticated`, whatever is wrong
 */
export async function authenticateApplication(
  ctx: VaultContext,
  stranger: Caller,
  { clientId, clientSecret }: { clientId: string; clientSecret: string },
): Promise<Audited<AuthenticatedApplication>> {
  ctx.audit.admit();
  if (!isCredential(clientSecret)) throw wrong('credential-malformed');
  const owner = await findBySecretHash(ctx.db, credentialHash(clientSecret));
  if (!owner || (owner.id !== clientId && owner.name !== clientId)) {
    throw new AppError('unauthenticated', WRONG, { rule: 'credential_unknown', suspicious: 'credential_unknown' });
  }
  refuseClosed(ctx, stranger, owner);
  const caller = callerOf(stranger, owner);
  return changed(ctx, caller, async (tx) => {
    await touchCredential(tx, owner.credential_id, ctx.now().getTime());
    return {
      value: { applicationId: owner.id, credentialId: owner.credential_id },
      happening: { action: 'auth.token', rule: 'client-credentials', resource: { application: owner.name } },
    };
  });
}

/** Who a credential belongs to, as it is now. @throws AppError `unauthenticated` if it was withdrawn */
export async function callerOfCredential(
  ctx: Pick<VaultContext, 'db' | 'now'>,
  stranger: Caller,
  credentialId: string,
): Promise<Caller> {
  const owner = await findByCredentialId(ctx.db, credentialId);
  if (!owner) throw wrong('credential-withdrawn');
  refuseClosed(ctx, stranger, owner);
  return callerOf(stranger, owner);
}

function callerOf(stranger: Caller, { id, name, credential_id: credential }: CredentialOwner): Caller {
  return { ...stranger, actor: { id, type: 'application', name, credential } };
}

function refuseClosed(ctx: Pick<VaultContext, 'now'>, { source }: Caller, owner: CredentialOwner): void {
  if (owner.disabled === 1) throw wrong('application-disabled');
  if (owner.expires_at !== null && owner.expires_at <= ctx.now().getTime()) throw wrong('application-expired');
  if (!isInside(source.ip ?? '', JSON.parse(owner.allowed_cidrs) as string[])) throw wrong('application-network');
}

const WRONG = 'the client id or the client secret is wrong';

function wrong(rule: string): AppError {
  return new AppError('unauthenticated', WRONG, { rule });
}
