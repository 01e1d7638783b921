import { login, logout, readMe } from '@cardea/contracts/auth';
import { route } from '@cardea/http/route';
import type { Route } from '@cardea/http/route';
import type { VaultContext } from '@cardea/vault/context';
import { audited } from '@cardea/vault/record';
import { signIn, signOut } from '@cardea/vault/users/sign-in';
import { ACCESS_TOKEN_SECONDS } from '../tokens.ts';
import type { Tokens } from '../tokens.ts';

export function authRoutes(ctx: VaultContext, tokens: Tokens): Route[] {
  return [
    route(login, async ({ caller, body }) => {
      const signedIn = await signIn(ctx, caller, body);
      return signedIn.map((session) => ({
        body: { access_token: tokens.sign(session), token_type: 'Bearer' as const, expires_in: ACCESS_TOKEN_SECONDS },
      }));
    }),

    route(logout, async ({ caller }) => (await signOut(ctx, caller)).map(() => ({ empty: true as const }))),

    route(readMe, async ({ caller }) => {
      const { id, type, name } = caller.actor;
      const { role } = caller;
      const me = { id, type: type as 'user', name: name!, ...(role ? { role } : {}) };
      return audited(ctx, caller, { action: 'auth.me', rule: 'self' }, { body: me });
    }),
  ];
}
