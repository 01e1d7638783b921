import type { IncomingMessage } from 'node:http';
import type { AuditActor } from '@cardea/contracts/audit-event';
import type { Caller } from '@cardea/contracts/caller';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import { changePassword, logout, readMe } from '@cardea/contracts/identity/auth';
import { timesSent } from '@cardea/http/server/odd-requests';
import type { FindCaller } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import type { ClientAddresses } from './client-address.ts';
import type { TokenClaims, Tokens } from './tokens.ts';

/** The endpoints for a user who has signed in with a one-time password. */
const withoutChosenPassword: ReadonlySet<Endpoint> = new Set<Endpoint>([changePassword, logout, readMe]);

/**
 * Identifies callers by their bearer token and its session. Endpoints without authentication have anonymous callers.
 */
export function createAuthenticate(
  ctx: Pick<VaultContext, 'db' | 'callerNow' | 'steadyMs'>,
  tokens: Tokens,
  addresses: ClientAddresses,
) {
  function stranger(req: IncomingMessage, requestId: string): Caller {
    // Whoever sends a request writes this text, and the log shows it: on a terminal, U+009B begins a command.
    const userAgent = req.headers['user-agent']?.slice(0, 256).replaceAll(/\p{Cc}/gu, '\ufffd');
    return {
      actor: { id: 'anonymous', type: 'anonymous' },
      source: { ip: addresses.of(req), ...(userAgent ? { userAgent } : {}) },
      requestId,
    };
  }

  async function identify(
    req: IncomingMessage,
    endpoint: Endpoint,
    requestId: string,
    find: FindCaller = (claimed) => ctx.callerNow(ctx.db, claimed),
  ): Promise<Caller> {
    const anybody = stranger(req, requestId);
    if (endpoint.auth === 'none') return anybody;
    const claims = await tokens.verify(bearerToken(req));
    const caller = await find({ ...anybody, actor: ownerOf(claims) });
    if (caller.mustChangePassword && !withoutChosenPassword.has(endpoint)) {
      throw new AppError('access_denied', 'choose a password first (POST /api/v1/auth/password)', {
        rule: 'must-change-password',
        actor: caller.actor,
      });
    }
    return { ...caller, identifiedAt: ctx.steadyMs() };
  }

  /** The owner of a token that was verified before. Does not check their current state: `identify` does. */
  function recall(req: IncomingMessage): AuditActor | undefined {
    const header = req.headers.authorization;
    const claims = header?.startsWith('Bearer ') ? tokens.recall(header.slice('Bearer '.length)) : undefined;
    return claims && ownerOf(claims);
  }

  return { stranger, identify, recall };
}

function ownerOf({ kind: type, subjectId: id, sessionId }: TokenClaims): AuditActor {
  return type === 'user' ? { id, type, session: sessionId } : { id, type, credential: sessionId };
}

function bearerToken(req: IncomingMessage): string {
  const header = req.headers.authorization;
  if (header === undefined) throw new AppError('unauthenticated', 'a bearer token is required', { rule: 'no-token' });
  const [, token] = /^Bearer ([A-Za-z0-9._~+/=-]+)$/i.exec(header) ?? [];
  // Of two headers, Node uses the first and a proxy may use the last, so they could disagree about the caller.
  if (token === undefined || timesSent(req.rawHeaders, 'authorization') > 1) {
    throw new AppError('unauthenticated', 'there must be exactly one Authorization header, with a bearer token', {
      rule: 'token-malformed',
      suspicious: 'token_malformed',
    });
  }
  return token;
}
