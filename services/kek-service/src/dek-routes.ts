import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { rewrapDeks, unwrapDeks, wrapDeks } from '@cardea/contracts/kek-api';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { WrappedDek } from '@cardea/contracts/keks';
import { unfreezeUnwraps } from '@cardea/contracts/seal-api';
import { fromBase64, toBase64 } from '@cardea/crypto/encoding';
import { plainRoute } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { KekContext } from './context.ts';
import type { Keyring } from './keyring/keyring.ts';
import { rewrapDek, unwrapDek, wrapDek } from './keyring/wrapping.ts';
import { releaseUnwrapped } from './unwrap.ts';

/** Routes that wrap, unwrap and rewrap DEKs, and end a freeze. A batch succeeds as a whole or is refused as a whole. */
export function dekRoutes(ctx: KekContext): Route[] {
  return [
    plainRoute(wrapDeks, async ({ caller, body }) => {
      const items = ofEach(ctx, caller, body.items, (keyring, item) => {
        const dek = fromBase64(item.dekBase64);
        try {
          return toWire(wrapDek(keyring, item, dek));
        } finally {
          dek.fill(0);
        }
      });
      ctx.metrics.dekOperations.inc({ operation: 'wrap' }, items.length);
      return { body: { items } };
    }),

    plainRoute(unwrapDeks, async ({ caller, body }) => {
      const items = await releaseUnwrapped(ctx, caller, body.items, () =>
        ofEach(ctx, caller, body.items, (keyring, item) => {
          const dek = unwrapDek(keyring, item, fromWire(item));
          try {
            return { dekBase64: toBase64(dek) };
          } finally {
            dek.fill(0);
          }
        }),
      );
      ctx.metrics.dekOperations.inc({ operation: 'unwrap' }, items.length);
      return { body: { items } };
    }),

    plainRoute(rewrapDeks, async ({ caller, body }) => {
      const items = ofEach(ctx, caller, body.items, (keyring, item) =>
        toWire(rewrapDek(keyring, item, fromWire(item))),
      );
      ctx.metrics.dekOperations.inc({ operation: 'rewrap' }, items.length);
      return { body: { items } };
    }),

    plainRoute(unfreezeUnwraps, async ({ caller, body: { peer, reason } }) => {
      await ctx.unwrapBudget.unfreeze(caller, peer, reason);
      return { body: {} };
    }),
  ];
}

function ofEach<Item extends DekRef & { kekVersion?: number }, Result>(
  ctx: KekContext,
  { actor, requestId }: Caller,
  items: Item[],
  work: (keyring: Keyring, item: Item) => Result,
): Result[] {
  const keyring = ctx.seal.keyring();
  return items.map((item) => {
    try {
      return work(keyring, item);
    } catch (error) {
      if (error instanceof AppError && error.suspicious !== undefined) {
        const { vaultId, dekVersion, kekVersion } = item;
        ctx.logger.error('integrity_failure', { requestId, peer: actor.id, vaultId, dekVersion, kekVersion, error });
      }
      throw error;
    }
  });
}

function fromWire({ wrappedDekBase64, kekVersion }: { wrappedDekBase64: string; kekVersion: number }): WrappedDek {
  return { bytes: fromBase64(wrappedDekBase64), kekVersion };
}

function toWire({ bytes, kekVersion }: WrappedDek): { wrappedDekBase64: string; kekVersion: number } {
  return { wrappedDekBase64: toBase64(bytes), kekVersion };
}
