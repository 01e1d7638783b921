import type * as deliveries from '@cardea/contracts/webhooks/deliveries';
import type * as kekRotation from '@cardea/contracts/webhooks/kek-rotation';
import { call } from '../call.ts';
import type { QueryOf } from '../call.ts';
import { listOf } from '../pages.ts';
import type { ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';
import type { CallOptions } from '../transport.ts';

const SECRETS = '/webhooks/kek-rotation/secrets';

const calls = {
  deliveries: call<typeof deliveries.listDeliveries>('GET', '/webhooks/deliveries'),
  retry: call<typeof deliveries.retryDelivery>('POST', '/webhooks/deliveries/{id}:retry'),
  createSecret: call<typeof kekRotation.createWebhookSecret>('POST', SECRETS),
  secrets: call<typeof kekRotation.listWebhookSecrets>('GET', SECRETS),
  deleteSecret: call<typeof kekRotation.deleteWebhookSecret>('DELETE', `${SECRETS}/{id}`),
};

type Filters = ListOptions & Pick<QueryOf<typeof deliveries.listDeliveries>, 'state'>;

/** Webhooks to receivers, and the secrets that sign the webhook of the KEK rotation. */
export function webhookCalls(sender: Sender) {
  return {
    /** The newest first. */
    deliveries: ({ state, ...options }: Filters = {}) =>
      listOf(sender, calls.deliveries, { query: { state } }, options),

    /** Sends a dead delivery again. */
    retry: (id: string, options?: CallOptions) => sender.body(calls.retry, { params: { id } }, options),

    /** The secret is shown once. */
    createSecret: (options?: CallOptions) => sender.body(calls.createSecret, {}, options),

    async secrets(options?: CallOptions) {
      const { items } = await sender.body(calls.secrets, {}, options);
      return items;
    },

    deleteSecret: (id: string, options?: CallOptions) => sender.body(calls.deleteSecret, { params: { id } }, options),
  };
}
