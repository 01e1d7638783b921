import type { WebhookSender } from '@cardea/contracts/webhooks/sender';
import { signWebhook } from '@cardea/crypto/webhook-signature';
import { toLines } from './sink.ts';
import type { Sink } from './sink.ts';

export interface HttpsSinkOptions {
  name: string;
  url: string;
  /** Signs what is sent. */
  key: Uint8Array;
  allowNetworks: readonly string[];
  sender: WebhookSender;
  /** Milliseconds since 1970. */
  now(): number;
}

/**
 * Posts entries as NDJSON, signed as Standard Webhooks are. A status of 2xx says that the receiver has every entry of the
 * request. The id of a message is made of the numbers of its first and last entry.
 */
export function createHttpsSink({ name, url, key, allowNetworks, sender, now }: HttpsSinkOptions): Sink {
  return {
    async deliver({ first, entries }, stop) {
      const body = toLines(entries).toString('utf8');
      const last = first + entries.length - 1;
      const message = { id: `${name}_${first}_${last}`, timestampSeconds: Math.floor(now() / 1000), body };
      const headers = {
        'content-type': 'application/x-ndjson',
        'webhook-id': message.id,
        'webhook-timestamp': String(message.timestampSeconds),
        'webhook-signature': signWebhook(key, message),
        'cardea-first-seq': String(first),
        'cardea-last-seq': String(last),
      };
      const failure = await sender.post({ url, allowNetworks }, { headers, body }, stop);
      if (failure !== undefined) throw new Error(`the receiver did not take the entries: ${failure}`);
    },
    close: async () => undefined,
  };
}
