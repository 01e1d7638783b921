import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { credentialHash, isCredential } from '@cardea/crypto/credential';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { changed } from '../record.ts';
import { findBySecretHash, touchCredential } from './application-store.ts';
import { callerOf, whyClosed } from './live-credential.ts';
import type { AuthenticatedApplication } from './live-credential.ts';

const WRONG = 'the client id or the client secret is wrong';

/**
 * Checks an application's secret (RFC 6749, 4.4). The secret has 256 random bits, so a plain SHA-256 is enough, and the
 * time of a lookup by that hash reveals nothing.
 * @throws AppError `unauthenticated`, whatever is wrong
 */
export async function authenticateApplication(
  ctx: VaultContext,
  stranger: Caller,
  { clientId, clientSecret }: { clientId: string; clientSecret: string },
): Promise<Audited<AuthenticatedApplication>> {
  if (!isCredential(clientSecret)) throw new AppError('unauthenticated', WRONG, { rule: 'credential-malformed' });
  const owner = await findBySecretHash(ctx.db, credentialHash(clientSecret));
  if (!owner || (owner.id !== clientId && owner.name !== clientId)) {
    throw new AppError('unauthenticated', WRONG, { rule: 'credential-unknown', suspicious: 'credential_unknown' });
  }
  const caller = callerOf(stranger, owner);
  const rule = whyClosed(ctx, stranger, owner);
  // The secret is right, so the record names the application. The answer must not tell that the secret is right.
  if (rule !== undefined) throw new AppError('unauthenticated', WRONG, { rule, actor: caller.actor });
  const work = async (tx: Transaction) => {
    await touchCredential(tx, owner.credential_id, ctx.now().getTime());
    const facts: EventFacts = {
      action: 'auth.token',
      rule: 'client-credentials',
      resource: { application: owner.name },
    };
    return { value: { applicationId: owner.id, credentialId: owner.credential_id }, facts };
  };
  // A token of a credential that is withdrawn meanwhile is worth nothing.
  return changed(ctx, caller, work, { account: 'unchecked' });
}
