import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { expect, test } from '@jest/globals';
import { beginExchange } from './exchange.ts';
import { limitReads } from './rate-limit.ts';

test('what is left of a quota is never said to be more than the quota, and is said to the end', () => {
  let now = 0;
  const limit = limitReads(3, () => now);
  const read = () => {
    const req = new IncomingMessage(new Socket());
    const exchange = beginExchange(req, new ServerResponse(req));
    try {
      limit(exchange, { type: 'user', id: 'alice' });
    } catch {
      // Its header fields say the same.
    }
    expect(exchange.headers?.['RateLimit-Policy']).toBe('"reads"; q=3; w=1');
    return exchange.headers?.['RateLimit'];
  };
  // Twice the quota may come at once after a pause.
  const all = Array.from({ length: 7 }, read);
  expect(all).toEqual([3, 3, 3, 2, 1, 0, 0].map((left) => `"reads"; r=${left}; t=1`));
  now = 60_000;
  expect(read()).toBe('"reads"; r=3; t=1');
});
