import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { endpoint } from '@cardea/contracts/endpoint';
import { createLogger } from '@cardea/process/logger';
import { createMetrics } from '@cardea/process/metrics';
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { createApp } from './app.ts';
import type { ServerContext } from './exchange.ts';
import { plainRoute } from './route.ts';

const items = z.array(z.int());
const common = {
  method: 'GET',
  action: 'health.read',
  summary: 'A list.',
  auth: 'none',
  statuses: [200],
  params: z.undefined(),
  query: z.strictObject({}),
  body: z.undefined(),
  response: z.strictObject({ items }),
} as const;

function list(length: number) {
  const answer = { body: { items: Array.from({ length }, (_, n) => n) } };
  return plainRoute(endpoint({ ...common, path: `/${length}` }), async () => answer);
}

/** Answers how many characters a text of at most 128 KiB has. */
function measure() {
  const body = z.strictObject({ text: z.string() });
  const measured = endpoint({ ...common, method: 'POST', path: '/texts', body });
  return {
    ...plainRoute(measured, async ({ body: { text } }) => ({ body: { items: [text.length] } })),
    bodyBytesMax: 128 * 1024,
  };
}

interface Sent {
  path: string;
  /** Of a text that is sent. */
  length?: number;
}

test.each<[string, Sent, Sent]>([
  ['a list is written', { path: '/500' }, { path: '/50' }],
  ['a body is read', { path: '/texts', length: 64 * 1024 }, { path: '/texts', length: 1_024 }],
])('%s in its turn if it is long, and at once if it is short', async (_what, long, short) => {
  const caller = { actor: { id: 'anonymous', type: 'anonymous' }, source: {}, requestId: 'r' } as const;
  const held = Promise.withResolvers<void>();
  const ctx: ServerContext = {
    logger: createLogger('test', 'error'),
    metrics: createMetrics('test'),
    identify: async () => caller,
    stranger: () => caller,
    recordRefusal: async () => undefined,
    translate: () => undefined,
    letOthersIn: () => held.promise,
  };
  await using server = createServer(createApp({ ctx, routes: [list(500), list(50), measure()] }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const send = async ({ path, length }: Sent) => {
    const text = length === undefined ? undefined : 'x'.repeat(length);
    const sent =
      text === undefined
        ? {}
        : { method: 'POST', body: JSON.stringify({ text }), headers: { 'content-type': 'application/json' } };
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, sent);
    const { items: answered } = (await answer.json()) as { items: number[] };
    return length === undefined ? answered.length : answered[0];
  };

  const answered: unknown[] = [];
  const sent = send(long).then((one) => answered.push(one));
  // Both were sent on their own connections, and the long one first.
  expect(await send(short)).toBe(short.length ?? 50);
  expect(answered).toEqual([]);
  held.resolve();
  await sent;
  expect(answered).toEqual([long.length ?? 500]);
});
