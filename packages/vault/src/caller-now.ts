import type { Caller } from '@cardea/contracts/caller';
import type { Queryable } from '@cardea/storage/db';
import { callerOfCredential } from './applications/live-credential.ts';
import { callerOfSession } from './users/live-session.ts';

/** See `VaultContext.callerNow`. @throws AppError `unauthenticated` */
export function callerNow(ctx: { db: Queryable; now(): Date }, caller: Caller): Promise<Caller> {
  const { id, session, credential } = caller.actor;
  if (session !== undefined) return callerOfSession(ctx, caller, session);
  if (credential !== undefined) return callerOfCredential(ctx, caller, { applicationId: id, credentialId: credential });
  throw new TypeError('a caller without an account has no state');
}
