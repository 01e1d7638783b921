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

test('a long list is written in its turn, and a short one at once', async () => {
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
  await using server = createServer(createApp({ ctx, routes: [list(500), list(50)] }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const get = async (length: number) => {
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/${length}`);
    return ((await answer.json()) as { items: number[] }).items.length;
  };

  const answered: number[] = [];
  const long = get(500).then((length) => answered.push(length));
  // Both were asked for on their own connections, and the long one first.
  expect(await get(50)).toBe(50);
  expect(answered).toEqual([]);
  held.resolve();
  await long;
  expect(answered).toEqual([500]);
});
