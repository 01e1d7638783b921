import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from '@jest/globals';
import { createWebhookSender } from './webhook-sender.ts';

const request = { headers: { 'content-type': 'application/json', 'webhook-id': 'one' }, body: '{"type":"test"}' };
const loopback = ['127.0.0.0/8'];
const never = new AbortController().signal;
const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
});

/** Starts a receiver. Returns its port, and what it got. */
async function receiver(answer: RequestListener): Promise<{ port: number; got: { url: string; body: string }[] }> {
  const got: { url: string; body: string }[] = [];
  const server = createServer((req, res) => void take(req, res));
  const take = async (req: IncomingMessage, res: ServerResponse) => {
    got.push({ url: req.url!, body: await text(req) });
    answer(req, res);
  };
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, got };
}

const ok: RequestListener = (_req, res) => void res.writeHead(204).end();
const local = [{ address: '127.0.0.1', family: 4 }];
const mixed = async () => [{ address: '8.8.8.8', family: 4 }, ...local];

describe('a receiver', () => {
  test('gets the request as it is, at its path', async () => {
    const { port, got } = await receiver(ok);
    const sender = createWebhookSender();
    const url = `http://127.0.0.1:${port}/in?of=cardea`;
    expect(await sender.post({ url, allowNetworks: loopback }, request, never)).toBeUndefined();
    expect(got).toEqual([{ url: '/in?of=cardea', body: request.body }]);
  });

  test.each([
    [200, undefined],
    [299, undefined],
    [301, 'status-301'],
    [400, 'status-400'],
    [410, 'status-410'],
    [500, 'status-500'],
  ])('that answers %d gives %s', async (status, failure) => {
    const { port } = await receiver((_req, res) => void res.writeHead(status).end('thank you'));
    const url = `http://127.0.0.1:${port}/`;
    expect(await createWebhookSender().post({ url, allowNetworks: loopback }, request, never)).toBe(failure);
  });

  test('that redirects is not followed', async () => {
    const elsewhere = await receiver(ok);
    const { port, got } = await receiver((_req, res) => {
      res.writeHead(307, { location: `http://127.0.0.1:${elsewhere.port}/` }).end();
    });
    const url = `http://127.0.0.1:${port}/`;
    expect(await createWebhookSender().post({ url, allowNetworks: loopback }, request, never)).toBe('status-307');
    expect(got).toHaveLength(1);
    expect(elsewhere.got).toEqual([]);
  });

  test('that does not answer costs as long as the timeout', async () => {
    const { port } = await receiver(() => {});
    const sender = createWebhookSender({ timeoutMs: 100 });
    expect(await sender.post({ url: `http://127.0.0.1:${port}/`, allowNetworks: loopback }, request, never)).toBe(
      'timeout',
    );
  });

  test('whose answer has no end has taken the request, and is read for a moment only', async () => {
    let written = 0;
    const { port } = await receiver((_req, res) => {
      res.writeHead(200);
      const write = () => {
        while (!res.destroyed && res.write(Buffer.alloc(64 * 1024))) written += 1;
      };
      res.on('drain', write);
      write();
    });
    // The end of its time would come long after the end of this test.
    const sender = createWebhookSender({ timeoutMs: 3_600_000 });
    expect(
      await sender.post({ url: `http://127.0.0.1:${port}/`, allowNetworks: loopback }, request, never),
    ).toBeUndefined();
    expect(written).toBeLessThan(1_000);
  });

  test('that cannot be reached gives the reason', async () => {
    const { port } = await receiver(ok);
    servers[0]!.close();
    const sender = createWebhookSender();
    const url = `http://127.0.0.1:${port}/`;
    expect(await sender.post({ url, allowNetworks: loopback }, request, never)).toBe('connection');
    const nameless = createWebhookSender({
      resolve: () => Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })),
    });
    expect(await nameless.post({ url, allowNetworks: loopback }, request, never)).toBe('no-address');
  });
});

describe('a connection', () => {
  test.each([
    ['loopback', '127.0.0.1'],
    ['loopback in other spellings', '2130706433'],
    ['loopback in hexadecimal', '0x7f.1'],
    ['a name of loopback', 'localhost'],
    ['IPv6 loopback', '[::1]'],
    ['loopback inside of IPv6', '[::ffff:127.0.0.1]'],
    ['loopback inside of IPv6 in hexadecimal', '[::ffff:7f00:1]'],
    ['this host', '0.0.0.0'],
    ['the metadata of a cloud', '169.254.169.254'],
    ['a private network', '10.0.0.1'],
    ['unique local', '[fd00::1]'],
  ])('to %s is refused', async (_what, host) => {
    const { port, got } = await receiver(ok);
    const sender = createWebhookSender({ timeoutMs: 2_000 });
    const url = `http://${host}:${port}/`;
    expect(await sender.post({ url, allowNetworks: [] }, request, never)).toBe('address-refused');
    expect(await sender.post({ url, allowNetworks: ['198.51.100.0/24'] }, request, never)).toBe('address-refused');
    expect(got).toEqual([]);
  });

  test('to a name with one private address among public ones is refused', async () => {
    const { port, got } = await receiver(ok);
    const url = `http://mixed.example:${port}/`;
    expect(await createWebhookSender({ resolve: mixed }).post({ url, allowNetworks: [] }, request, never)).toBe(
      'address-refused',
    );
    expect(got).toEqual([]);
  });

  // The first answer is allowed and is the only one that counts; a second look-up would lead elsewhere.
  test('goes to the address that was checked, even if the name means another one a moment later', async () => {
    const checked = await receiver(ok);
    const answers = [local, [{ address: '169.254.169.254', family: 4 }]];
    let asked = 0;
    const resolve = async () => answers[asked++]!;
    const url = `http://rebound.example:${checked.port}/`;
    const sender = createWebhookSender({ resolve, timeoutMs: 2_000 });
    expect(await sender.post({ url, allowNetworks: loopback }, request, never)).toBeUndefined();
    expect([asked, checked.got.length]).toEqual([1, 1]);
    expect(await sender.post({ url, allowNetworks: loopback }, request, never)).toBe('address-refused');
    expect([asked, checked.got.length]).toEqual([2, 1]);
  });

  test('to https needs a certificate of the name', async () => {
    const { port, got } = await receiver(ok);
    const url = `https://127.0.0.1:${port}/`;
    expect(await createWebhookSender().post({ url, allowNetworks: loopback }, request, never)).toBe('connection');
    expect(got).toEqual([]);
  });
});

test('an abort breaks off what is under way and refuses the rest', async () => {
  const reached = Promise.withResolvers<void>();
  const { port } = await receiver(() => reached.resolve());
  const sender = createWebhookSender();
  const target = { url: `http://127.0.0.1:${port}/`, allowNetworks: loopback };
  const stopping = new AbortController();
  const posted = sender.post(target, request, stopping.signal);
  await reached.promise;
  stopping.abort();
  expect(await posted).toBe('aborted');
  expect(await sender.post(target, request, stopping.signal)).toBe('aborted');
});
