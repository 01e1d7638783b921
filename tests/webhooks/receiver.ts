import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { formatWebhookSecret, isSignedBy } from '@cardea/crypto/webhook-signature';
import type { TestSystem } from '@cardea/testkit/system';

const KEY = new Uint8Array(32).fill(42);
/** The secret of every receiver that `configure` makes. */
export const SECRET = formatWebhookSecret(KEY);

/** A request that a receiver got. */
export interface Got {
  id: string;
  type: string;
  data: Record<string, unknown>;
  timestampSeconds: number;
  signed: boolean;
  body: string;
}

/** A real HTTP server that takes webhooks. */
export interface Receiver extends AsyncDisposable {
  url: string;
  got: Got[];
  /** The status of the next answers. `never` means that it does not answer. */
  answer: number | 'never';
  /** Sent with each answer. */
  headers: Record<string, string>;
  /** Resolves once it has got so many requests. */
  reached(count: number): Promise<void>;
}

export async function startReceiver(): Promise<Receiver> {
  const waiting: (() => void)[] = [];
  const server = createServer((req, res) => void take(req, res));
  const take = async (req: IncomingMessage, res: ServerResponse) => {
    receiver.got.push(toGot(req, await text(req)));
    for (const resolve of waiting.splice(0)) resolve();
    if (receiver.answer !== 'never') res.writeHead(receiver.answer, receiver.headers).end();
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`,
    got: [],
    answer: 204,
    headers: {},
    async reached(count) {
      while (receiver.got.length < count) await new Promise<void>((resolve) => waiting.push(resolve));
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return receiver;
}

function toGot({ headers }: IncomingMessage, body: string): Got {
  const { type, data } = JSON.parse(body) as Pick<Got, 'type' | 'data'>;
  const id = String(headers['webhook-id']);
  const timestampSeconds = Number(headers['webhook-timestamp']);
  const signed = isSignedBy(KEY, { id, timestampSeconds, body }, String(headers['webhook-signature']));
  return { id, type, data, timestampSeconds, signed, body };
}

/** How a system is to know a receiver. */
export interface Configured {
  name: string;
  url: string;
  events: string[];
  allowNetworks?: string[];
}

/** Starts api-service again with these receivers. All have the same secret. */
export async function configure(system: TestSystem, receivers: Configured[]): Promise<void> {
  const path = join(system.dataDir, 'webhooks.json');
  const endpoints = receivers.map((one) => ({
    allowHttp: true,
    allowNetworks: ['127.0.0.0/8'],
    secret: SECRET,
    ...one,
  }));
  await writeFile(path, JSON.stringify({ endpoints }), { mode: 0o600 });
  system.settings['CARDEA_WEBHOOKS_FILE'] = path;
  await system.stopService('api');
  await system.startService('api');
}
