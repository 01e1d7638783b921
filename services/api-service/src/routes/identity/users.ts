import * as contract from '@cardea/contracts/identity/users';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import { resetPassword } from '@cardea/vault/users/passwords';
import * as users from '@cardea/vault/users/users';
import { empty } from '../empty.ts';

export function userRoutes(ctx: VaultContext): Route[] {
  return [
    route(contract.createUser, async ({ caller, body }) => {
      const { ttlSeconds, expiresAt, ...rest } = body;
      const made = await users.createUser(ctx, caller, { ...rest, expiresAt: endOf(ctx, { ttlSeconds, expiresAt }) });
      return made.map(({ oneTimePassword, ...user }) => ({
        body: { ...toWire(user), ...(oneTimePassword === undefined ? {} : { oneTimePassword }) },
      }));
    }),

    route(contract.listUsers, async ({ caller, query }) => {
      const page = await users.listUsers(ctx, caller, query);
      return page.map(({ items, ...rest }) => ({ body: { items: items.map(toWire), ...rest } }));
    }),

    route(contract.readUser, async ({ caller, params }) => {
      return (await users.readUser(ctx, caller, params.username)).map((user) => ({ body: toWire(user) }));
    }),

    route(contract.changeUser, async ({ caller, params, body }) => {
      const { expiresAt, ...rest } = body;
      const change = {
        ...rest,
        ...(expiresAt === undefined ? {} : { expiresAt: expiresAt === null ? null : new Date(expiresAt) }),
      };
      const done = await users.changeUser(ctx, caller, params.username, change);
      return done.map((user) => ({ body: toWire(user) }));
    }),

    route(contract.deleteUser, async ({ caller, params, query }) => {
      return (await users.deleteUser(ctx, caller, { ...params, ...query })).map(empty);
    }),

    route(contract.resetPassword, async ({ caller, params }) => {
      return (await resetPassword(ctx, caller, params.username)).map((body) => ({ body }));
    }),

    route(contract.unlockUser, async ({ caller, params }) => {
      return (await users.unlockUser(ctx, caller, params.username)).map(empty);
    }),

    route(contract.revokeSessions, async ({ caller, params }) => {
      return (await users.revokeSessions(ctx, caller, params.username)).map(empty);
    }),
  ];
}

function endOf(
  ctx: VaultContext,
  { ttlSeconds, expiresAt }: { ttlSeconds: number | undefined; expiresAt: string | undefined },
): Date | undefined {
  if (ttlSeconds !== undefined) return new Date(ctx.now().getTime() + ttlSeconds * 1000);
  return expiresAt === undefined ? undefined : new Date(expiresAt);
}

function toWire({ expiresAt, createdAt, ...user }: users.User) {
  return {
    ...user,
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt.toISOString() }),
    createdAt: createdAt.toISOString(),
  };
}
