import * as contract from '@cardea/contracts/webhooks/kek-rotation';
import { requireJson } from '@cardea/http/server/body';
import { rawRoute, route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import { followRotation } from '@cardea/vault/kek-webhook/follow-rotation';
import { receiveWebhook } from '@cardea/vault/kek-webhook/receive-webhook';
import { verifyWebhook } from '@cardea/vault/kek-webhook/verify-webhook';
import * as secrets from '@cardea/vault/webhook-secrets/webhook-secrets';
import { createTurns } from '@cardea/process/in-turn';
import { createWebhookLimit } from '../../limits/webhook-limit.ts';
import { empty } from '../empty.ts';

const BODY_BYTES_MAX = 8 * 1024;

export function kekRotationRoutes(ctx: VaultContext): Route[] {
  const limit = createWebhookLimit();
  const inTurn = createTurns();
  return [
    rawRoute(
      contract.receiveKekRotation,
      async ({ caller, headers, body }) => {
        requireJson(headers['content-type']);
        const webhook = await verifyWebhook(ctx, { method: 'POST', headers, body });
        limit(webhook);
        const received = await inTurn(() => receiveWebhook(ctx, caller, webhook));
        return received.map(({ rotationId: id }) => ({ body: { id }, headers: { Location: pathOf(id) } }));
      },
      { bodyBytesMax: BODY_BYTES_MAX },
    ),

    rawRoute(
      contract.followKekRotation,
      async ({ caller, params, headers, body }) => {
        const webhook = await verifyWebhook(ctx, { method: 'GET', headers, body });
        limit(webhook);
        const followed = await followRotation(ctx, caller, { webhook, id: params.id });
        return followed.map(({ startedAt, finishedAt, ...rotation }) => ({
          body: { ...rotation, startedAt: startedAt.toISOString(), ...timed('finishedAt', finishedAt) },
        }));
      },
      { bodyBytesMax: 0 },
    ),

    route(contract.createWebhookSecret, async ({ caller }) => {
      const made = await secrets.createWebhookSecret(ctx, caller);
      return made.map(({ secret, ...rest }) => ({ body: { ...toWire(rest), secret } }));
    }),

    route(contract.listWebhookSecrets, async ({ caller }) => {
      return (await secrets.listWebhookSecrets(ctx, caller)).map((items) => ({ body: { items: items.map(toWire) } }));
    }),

    route(contract.deleteWebhookSecret, async ({ caller, params }) => {
      return (await secrets.deleteWebhookSecret(ctx, caller, params.id)).map(empty);
    }),
  ];
}

/** Where the sender of a webhook follows its rotation. */
function pathOf(id: string): string {
  return contract.followKekRotation.path.replace('{id}', id);
}

function toWire({ id, createdAt, lastUsedAt }: secrets.WebhookSecret) {
  return { id, createdAt: createdAt.toISOString(), ...timed('lastUsedAt', lastUsedAt) };
}

function timed<F extends string>(field: F, time: Date | undefined): { [K in F]?: string } {
  return time === undefined ? {} : ({ [field]: time.toISOString() } as { [K in F]?: string });
}
