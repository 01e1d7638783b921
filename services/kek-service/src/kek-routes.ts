import { changesBetween } from '@cardea/contracts/audit-changes';
import { destroyKek, listKeks, rotateKek } from '@cardea/contracts/kek-api';
import { plainRoute } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import { changeKeyring } from './change-keyring.ts';
import type { KekContext } from './context.ts';
import { kekVersions, newKek, withNewKek, withoutKek } from './keyring/kek-versions.ts';

/** Making, listing and destroying KEKs. */
export function kekRoutes(ctx: KekContext): Route[] {
  return [
    plainRoute(rotateKek, async ({ caller, body: { requestId } }) => {
      const version = await changeKeyring(ctx, caller, ({ document: { keks }, rootKey }) => {
        const made = keks.find((kek) => kek.requestId === requestId);
        if (made) return { value: made.version };
        const version = keks.at(-1)!.version + 1;
        const kek = newKek(rootKey, { version, createdAt: new Date(ctx.now()).toISOString(), requestId });
        const facts = { action: 'kek.rotate', kekVersion: version, resource: { name: requestId } } as const;
        return { value: version, change: { keks: withNewKek(keks, kek), facts } };
      });
      return { body: { version } };
    }),

    plainRoute(listKeks, async () => ({ body: { items: kekVersions(ctx.seal.keyring().document) } })),

    plainRoute(destroyKek, async ({ caller, params: { version } }) => {
      await changeKeyring(ctx, caller, ({ document }) => {
        const keks = withoutKek(document.keks, version);
        if (!keks) return { value: undefined };
        const changes = changesBetween({ state: 'decrypt-only' }, { state: 'destroyed' });
        return { value: undefined, change: { keks, facts: { action: 'kek.destroy', kekVersion: version, changes } } };
      });
      return { body: {} };
    }),
  ];
}
