import type { IncomingMessage } from 'node:http';
import type { AuditActor } from '@cardea/contracts/audit-event';
import type { Caller } from '@cardea/contracts/caller';
import { addressIn } from '@cardea/contracts/cidr';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import { changePassword, logout, readMe } from '@cardea/contracts/identity/auth';
import { timesSent } from '@cardea/http/server/odd-requests';
import { callerOfCredential } from '@cardea/vault/applications/live-credential';
import type { VaultContext } from '@cardea/vault/context';
import { callerOfSession } from '@cardea/vault/users/live-session';
import type { Tokens } from './tokens.ts';

/** The endpoints for a user who has signed in with a one-time password. */
const withoutChosenPassword: ReadonlySet<Endpoint> = new Set<Endpoint>([changePassword, logout, readMe]);

/**
 * Identifies callers by their bearer token and its session. Endpoints without authentication have anonymous callers.
 */
export function createAuthenticate(ctx: Pick<VaultContext, 'db' | 'now'>, tokens: Tokens, trustedProxies: number) {
  function stranger(req: IncomingMessage, requestId: string): Caller {
    const userAgent = req.headers['user-agent']?.slice(0, 256);
    return {
      actor: { id: 'anonymous', type: 'anonymous' },
      source: { ip: clientAddress(req, trustedProxies), ...(userAgent ? { userAgent } : {}) },
      requestId,
    };
  }

  async function identify(req: IncomingMessage, endpoint: Endpoint, requestId: string): Promise<Caller> {
    const caller = stranger(req, requestId);
    if (endpoint.auth === 'none') return caller;
    const { kind, subjectId, sessionId } = await tokens.verify(bearerToken(req));
    if (kind === 'application') {
      return callerOfCredential(ctx, caller, { applicationId: subjectId, credentialId: sessionId });
    }
    const user = await callerOfSession(ctx, caller, sessionId);
    if (user.mustChangePassword && !withoutChosenPassword.has(endpoint)) {
      throw new AppError('access_denied', 'choose a password first (POST /api/v1/auth/password)', {
        rule: 'must-change-password',
        actor: user.actor,
      });
    }
    return user;
  }

  /** The owner of a token that was verified before. Does not check their current state: `identify` does. */
  function recall(req: IncomingMessage): AuditActor | undefined {
    const header = req.headers.authorization;
    const claims = header?.startsWith('Bearer ') ? tokens.recall(header.slice('Bearer '.length)) : undefined;
    if (!claims) return undefined;
    const { kind: type, subjectId: id, sessionId } = claims;
    return type === 'user' ? { id, type, session: sessionId } : { id, type, credential: sessionId };
  }

  return { stranger, identify, recall };
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

/**
 * The address of the client. It is the address of the connection. Behind `trustedProxies` proxies, it is the entry of
 * X-Forwarded-For that the outermost proxy wrote: the client itself can write all entries to the left of it. A request
 * whose entry is no address counts as the proxy's own, so that such requests share one limit.
 */
export function clientAddress(req: IncomingMessage, trustedProxies: number): string {
  const own = addressIn(req.socket.remoteAddress ?? '') ?? 'unknown';
  if (trustedProxies === 0) return own;
  const forwarded = String(req.headers['x-forwarded-for'] ?? '')
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  return addressIn(forwarded.at(-trustedProxies) ?? '') ?? own;
}
