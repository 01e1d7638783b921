import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import * as contract from '@cardea/contracts/identity/auth';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import { authenticateApplication } from '@cardea/vault/applications/client-credentials';
import type { VaultContext } from '@cardea/vault/context';
import { listLiveGrants } from '@cardea/vault/grants/live-grants';
import { audited } from '@cardea/vault/record';
import { FIRST_ADMIN } from '@cardea/vault/users/first-admin';
import { changeOwnPassword } from '@cardea/vault/users/passwords';
import type { ListedSession } from '@cardea/vault/users/session-store';
import { endOwnSession, listSessions, refreshSession, signOut } from '@cardea/vault/users/sessions';
import { signIn } from '@cardea/vault/users/sign-in';
import type { SignedIn } from '@cardea/vault/users/sign-in';
import { confirmTotp, disableTotp, removeTotp, setUpTotp } from '@cardea/vault/users/totp';
import type { TokenKeys } from '../../token-keys.ts';
import { ACCESS_TOKEN_SECONDS } from '../../tokens.ts';
import type { Tokens } from '../../tokens.ts';
import { empty } from '../empty.ts';
import { grantToWire } from '../grants.ts';

export function authRoutes(
  ctx: VaultContext,
  tokens: Tokens,
  keys: TokenKeys,
  forgetInitialPassword: () => Promise<void>,
): Route[] {
  return [
    route(contract.login, async ({ caller, body }) => {
      // A sign-in needs the signing key. It is loaded first: without it, no password or code is used up.
      await keys.newest();
      const signedIn = await signIn(ctx, caller, body);
      const pair = await pairOf(tokens, signedIn.value);
      return signedIn.map(() => ({ body: pair }));
    }),

    route(contract.refresh, async ({ caller, body }) => {
      const refreshed = await refreshSession(ctx, caller, body.refresh_token, await keys.refresh());
      const pair = await pairOf(tokens, refreshed.value);
      return refreshed.map(() => ({ body: pair }));
    }),

    route(contract.clientCredentials, async ({ caller, body, headers }) => {
      const credentials = clientOf(body, headers.authorization);
      const known = await authenticateApplication(ctx, caller, credentials);
      const { applicationId: subjectId, credentialId: sessionId } = known.value;
      const token = await tokens.sign({ kind: 'application', subjectId, sessionId });
      return known.map(() => ({ body: tokenOf(token) }));
    }),

    route(contract.logout, async ({ caller }) => (await signOut(ctx, caller)).map(empty)),

    route(contract.readMe, async ({ caller }) => {
      const { id, type, name } = caller.actor;
      const grants = await listLiveGrants(ctx, caller);
      const me = {
        id,
        type: type as 'user' | 'application',
        name: name!,
        ...(caller.role ? { role: caller.role } : {}),
        ...(caller.mustChangePassword ? { mustChangePassword: true } : {}),
        grants: grants.map(({ vault, ...granted }) => ({ vault: vault.name, ...grantToWire(granted) })),
      };
      return audited(ctx, caller, 'signed-in', { action: 'auth.me', rule: 'self' }, () => ({ body: me }));
    }),

    route(contract.changePassword, async ({ caller, body }) => {
      const done = await changeOwnPassword(ctx, caller, body);
      if (caller.actor.name === FIRST_ADMIN) await forgetInitialPassword();
      return done.map(empty);
    }),

    route(contract.setUpTotp, async ({ caller, body }) => {
      const setUp = await setUpTotp(ctx, caller, body.currentPassword);
      return setUp.map((shown) => ({ body: shown }));
    }),

    route(contract.confirmTotp, async ({ caller, body }) => {
      const confirmed = await confirmTotp(ctx, caller, body.otp);
      return confirmed.map((codes) => ({ body: codes }));
    }),

    route(contract.disableTotp, async ({ caller, body }) => (await disableTotp(ctx, caller, body.otp)).map(empty)),

    route(contract.removeTotp, async ({ caller }) => (await removeTotp(ctx, caller)).map(empty)),

    route(contract.listSessions, async ({ caller, query }) => {
      const page = await listSessions(ctx, caller, query);
      return page.map(({ items, ...rest }) => ({
        body: { items: items.map((row) => sessionToWire(row, caller)), ...rest },
      }));
    }),

    route(contract.endSession, async ({ caller, params }) => (await endOwnSession(ctx, caller, params.id)).map(empty)),
  ];
}

async function pairOf(tokens: Tokens, { userId, sessionId, refreshToken }: SignedIn) {
  const token = await tokens.sign({ kind: 'user', subjectId: userId, sessionId });
  return { ...tokenOf(token), refresh_token: refreshToken };
}

function tokenOf(token: string) {
  return { access_token: token, token_type: 'Bearer' as const, expires_in: ACCESS_TOKEN_SECONDS };
}

function sessionToWire(row: ListedSession, { actor }: Caller) {
  return {
    id: row.id,
    current: row.id === actor.session,
    createdAt: new Date(row.created_at).toISOString(),
    expiresAt: new Date(row.expires_at).toISOString(),
    ip: row.ip,
    userAgent: row.user_agent,
  };
}

// RFC 6749, 2.3.1: by HTTP Basic or in the body, but not both. A client_id in the body beside Basic is no secret and is
// allowed (section 3.2.1), but it must be the same.
function clientOf(
  body: { client_id?: string | undefined; client_secret?: string | undefined },
  authorization: string | undefined,
): { clientId: string; clientSecret: string } {
  const basic = parseBasic(authorization);
  if (basic && body.client_secret !== undefined) {
    throw new AppError('invalid_request', 'the client id and secret must be in HTTP Basic or in the body, not in both');
  }
  if (basic && body.client_id !== undefined && body.client_id !== basic.clientId) {
    throw new AppError('invalid_request', 'the client_id of the body differs from the client id in HTTP Basic');
  }
  const { clientId = body.client_id, clientSecret = body.client_secret } = basic ?? {};
  if (clientId === undefined || clientSecret === undefined) {
    throw new AppError('unauthenticated', 'client_id and client_secret are required', { rule: 'no-credential' });
  }
  return { clientId, clientSecret };
}

// A malformed header gives an empty client id, which is refused like any other wrong id.
function parseBasic(authorization = ''): { clientId: string; clientSecret: string } | undefined {
  if (!/^Basic( |$)/i.test(authorization)) return undefined;
  const text = authorization.slice('Basic '.length).trim();
  const bytes = Buffer.from(text, 'base64');
  // Buffer skips characters that base64 does not have, and loose bits, so it takes many spellings of one credential.
  const isBase64 = bytes.toString('base64') === text;
  const [, id = '', secret = ''] = (isBase64 && /^([^:]*):(.*)$/s.exec(bytes.toString('utf8'))) || [];
  return { clientId: formDecoded(id), clientSecret: formDecoded(secret) };
}

// In Basic both parts are form-encoded (RFC 6749, 2.3.1). Some clients encode more than is needed.
function formDecoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch (error) {
    if (error instanceof URIError) return '';
    throw error;
  }
}
