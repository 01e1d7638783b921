import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';

const script = fileURLToPath(new URL('health.mjs', import.meta.url));
let server: Server | undefined;
afterEach(() => void server?.close());

async function serve(status: number, body: string): Promise<number> {
  server = createServer((req, res) => res.writeHead(req.url === '/readyz' ? status : 404).end(body)).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function check(port: number): Promise<{ code: unknown; errors: string }> {
  const child = spawn(process.execPath, [script, String(port)], { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const [code] = await once(child, 'close');
  return { code, errors };
}

test('a service that is ready is healthy', async () => {
  expect(await check(await serve(200, '{"status":"ready"}'))).toEqual({ code: 0, errors: '' });
});

test('a service that is not ready is not healthy, and the check prints what is missing', async () => {
  const body = '{"status":"not_ready","failed":["audit"]}';
  expect(await check(await serve(503, body))).toEqual({ code: 1, errors: body });
});

test('a service that does not listen is not healthy', async () => {
  const port = await serve(200, '');
  server!.close();
  await once(server!, 'close');
  expect(await check(port)).toEqual({ code: 1, errors: expect.stringContaining('ECONNREFUSED') });
});
