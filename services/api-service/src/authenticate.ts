import type { IncomingMessage } from 'node:http';
import type { AuditActor } from '@cardea/contracts/audit-event';
import type { Caller } from '@cardea/contracts/caller';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import { changePassword, logout, readMe } from '@cardea/contracts/identity/auth';
import { timesSent } from '@cardea/http/server/odd-requests';
import { callerOfCredential } from '@cardea/vault/applications/client-credentials';
import type { VaultContext } from '@cardea/vault/context';
import { callerOfSession } from '@cardea/vault/users/sessions';
import type { Tokens } from './tokens.ts';

/** What somebody may do who has signed in by a one-time password. */
const withoutChosenPassword: ReadonlySet<Endpoint> = new Set<Endpoint>([changePassword, logout, readMe]);

/** Says who is asking: a bearer token whose session lives, or a stranger where the endpoint takes strangers. */
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

  /** Whose token this is, if it was found good before; what has become of them since, `identify` looks at. */
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
  // Of two Node takes the first, and a proxy maybe the last: they would not agree on who asks.
  if (token === undefined || timesSent(req.rawHeaders, 'authorization') > 1) {
    throw new AppError('unauthenticated', 'there must be one Authorization header, and in it a bearer token', {
      rule: 'token-malformed',
      suspicious: 'token_malformed',
    });
  }
  return token;
}

/**
 * The client's address: of the connection, or, behind `trustedProxies` proxies, the entry of X-Forwarded-For that the
 * outermost of them wrote. Entries to the left of it are the client's own words.
 */
export function clientAddress(req: IncomingMessage, trustedProxies: number): string {
  const own = plainAddress(req.socket.remoteAddress ?? 'unknown');
  if (trustedProxies === 0) return own;
  const forwarded = String(req.headers['x-forwarded-for'] ?? '')
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  return plainAddress(forwarded.at(-trustedProxies) ?? own).slice(0, 64);
}

// The same IPv4 client comes as ::ffff:192.0.2.1 on a socket that takes both kinds.
function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
