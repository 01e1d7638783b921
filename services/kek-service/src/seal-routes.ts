import { addSeal, followSeal, listSeals, removeSeal, seal, sealStatus, unseal } from '@cardea/contracts/seal-api';
import { plainRoute } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import { recordSealChange } from './audit.ts';
import type { KekContext } from './context.ts';
import { dropSeal, makeSeal, toSeal } from './manage-seals.ts';
import { unsealByPassphrase, unsealByShare } from './unseal.ts';

/** Routes that open and close the keyring and change its seals. The audit log has the record before any takes effect. */
export function sealRoutes(ctx: KekContext): Route[] {
  return [
    plainRoute(sealStatus, async () => {
      const { document } = await ctx.store.read();
      const seals = document.seals.map(({ id, type }) => ({ id, type }));
      const progress = ctx.givenShares.progress();
      return { body: { sealed: ctx.seal.isSealed(), seals, progress, frozen: ctx.unwrapBudget.frozen() } };
    }),

    plainRoute(followSeal, async ({ caller }) => ({
      stream: ctx.sealEvents.follow(caller.actor.id),
      contentType: 'application/x-ndjson',
    })),

    plainRoute(unseal, async ({ caller, body }) => {
      const kind = 'share' in body ? 'share' : 'passphrase';
      const progress = await ctx.unsealAttempts.run(`${caller.actor.id} ${kind}`, async () => {
        if ('share' in body) return unsealByShare(ctx, caller, body.share);
        await unsealByPassphrase(ctx, caller, body.passphrase);
        return undefined;
      });
      return { body: { sealed: ctx.seal.isSealed(), progress } };
    }),

    plainRoute(seal, async ({ caller }) => {
      await recordSealChange(ctx, caller, 'seal.close');
      ctx.seal.close();
      ctx.givenShares.clear();
      return { body: { sealed: true } };
    }),

    plainRoute(listSeals, async () => {
      const { document } = await ctx.store.read();
      return { body: { items: document.seals.map(toSeal) } };
    }),

    plainRoute(addSeal, async ({ caller, body }) => ({ body: await makeSeal(ctx, caller, body) })),

    plainRoute(removeSeal, async ({ caller, params: { id } }) => {
      await dropSeal(ctx, caller, id);
      return { empty: true };
    }),
  ];
}
