import * as contract from '@cardea/contracts/identity/applications';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import * as applications from '@cardea/vault/applications/applications';
import type { VaultContext } from '@cardea/vault/context';
import { empty } from '../empty.ts';

export function applicationRoutes(ctx: VaultContext): Route[] {
  return [
    route(contract.createApplication, async ({ caller, body }) => {
      const expiresAt = body.expiresAt === undefined ? undefined : new Date(body.expiresAt);
      const made = await applications.createApplication(ctx, caller, { ...body, expiresAt });
      return made.map(({ clientSecret, ...application }) => ({ body: { ...toWire(application), clientSecret } }));
    }),

    route(contract.listApplications, async ({ caller, query }) => {
      const page = await applications.listApplications(ctx, caller, query);
      return page.map(({ items, ...rest }) => ({ body: { items: items.map(toWire), ...rest } }));
    }),

    route(contract.readApplication, async ({ caller, params }) => {
      return (await applications.readApplication(ctx, caller, params.name)).map((found) => ({ body: toWire(found) }));
    }),

    route(contract.changeApplication, async ({ caller, params, body }) => {
      const { expiresAt, ...rest } = body;
      const change = {
        ...rest,
        ...(expiresAt === undefined ? {} : { expiresAt: expiresAt === null ? null : new Date(expiresAt) }),
      };
      const done = await applications.changeApplication(ctx, caller, params.name, change);
      return done.map((application) => ({ body: toWire(application) }));
    }),

    route(contract.deleteApplication, async ({ caller, params }) => {
      return (await applications.deleteApplication(ctx, caller, params.name)).map(empty);
    }),

    route(contract.createCredential, async ({ caller, params, body }) => {
      const expiresAt = body?.expiresAt === undefined ? undefined : new Date(body.expiresAt);
      const made = await applications.createCredential(ctx, caller, { ...params, expiresAt });
      return made.map(({ clientSecret, ...credential }) => ({
        body: { ...credentialToWire(credential), clientSecret },
      }));
    }),

    route(contract.listCredentials, async ({ caller, params, query }) => {
      const page = await applications.listCredentials(ctx, caller, { ...params, ...query });
      return page.map(({ items, ...rest }) => ({ body: { items: items.map(credentialToWire), ...rest } }));
    }),

    route(contract.deleteCredential, async ({ caller, params }) => {
      return (await applications.deleteCredential(ctx, caller, params)).map(empty);
    }),
  ];
}

function toWire({ expiresAt, createdAt, ...application }: applications.Application) {
  return {
    ...application,
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt.toISOString() }),
    createdAt: createdAt.toISOString(),
  };
}

function credentialToWire({ id, expiresAt, createdAt, lastUsedAt }: applications.Credential) {
  return {
    id,
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt.toISOString() }),
    createdAt: createdAt.toISOString(),
    ...(lastUsedAt === undefined ? {} : { lastUsedAt: lastUsedAt.toISOString() }),
  };
}
