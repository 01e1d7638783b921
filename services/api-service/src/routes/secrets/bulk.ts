import {
  BATCH_BYTES_MAX,
  BULK_NAMES_BYTES_MAX,
  batchRead,
  batchWrite,
  deleteSecrets,
  moveSecrets,
} from '@cardea/contracts/secrets/bulk';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import { authorize } from '@cardea/vault/authorize';
import type { VaultContext } from '@cardea/vault/context';
import * as batch from '@cardea/vault/secrets/bulk/batch';
import * as deleting from '@cardea/vault/secrets/bulk/bulk-delete';
import * as bulkMove from '@cardea/vault/secrets/bulk/bulk-move';
import { dependantsHeader, optionsOf, outcomeToWire, secretToWire, valueOf } from './secret-wire.ts';

/** Batches, bulk deletions and moves. */
export function bulkRoutes(ctx: VaultContext): Route[] {
  return [
    route(batchRead, async ({ caller, params, body }) => {
      const read = await batch.batchRead(ctx, caller, { ...params, ...body });
      return read.map((secrets) => ({ body: { items: secrets.map(secretToWire) } }));
    }),

    route(
      batchWrite,
      async ({ caller, params, body }) => {
        const now = ctx.now().getTime();
        const secrets = body.secrets.map((secret) => ({
          name: secret.name,
          value: valueOf(secret),
          options: optionsOf(secret, now),
        }));
        const written = await batch.batchWrite(ctx, caller, { ...params, secrets }).finally(() => {
          for (const { value } of secrets) value.bytes.fill(0);
        });
        return written.map((outcomes) => ({ body: { items: outcomes.map(outcomeToWire) } }));
      },
      {
        bodyBytesMax: BATCH_BYTES_MAX,
        mayBegin: ({ caller, params }) => authorize(ctx, caller, 'secret.write', params),
      },
    ),

    route(
      deleteSecrets,
      async ({ caller, params, body }) => {
        const { names, prefix, dryRun } = body;
        const selection = names ? { names } : { prefix: prefix! };
        const deleted = await deleting.deleteSecrets(ctx, caller, { ...params, selection, dryRun });
        return deleted.map((items) => ({ body: { items, dryRun } }));
      },
      {
        bodyBytesMax: BULK_NAMES_BYTES_MAX,
        mayBegin: ({ caller, params }) => authorize(ctx, caller, 'secret.delete', params),
      },
    ),

    route(moveSecrets, async ({ caller, params, body }) => {
      const { prefix, toPrefix, vault = params.vault, dryRun } = body;
      const from = { vault: params.vault, name: prefix };
      const moved = await bulkMove.moveSecrets(ctx, caller, { from, to: { vault, name: toPrefix }, dryRun });
      return moved.map(({ items, dependants }) => ({
        headers: dependantsHeader(dependants),
        body: { items, dryRun },
      }));
    }),
  ];
}
