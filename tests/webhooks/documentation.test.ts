import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createInterface } from 'node:readline';
import { findServer } from '@cardea/testkit/servers';
import { useSystem } from '@cardea/testkit/use-system';
import { publish } from '@cardea/vault/webhooks/publish';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { query } from '../secrets/ground.ts';
import { SECRET, configure } from './receiver.ts';

const root = new URL('../../', import.meta.url).pathname;
// Where the package standardwebhooks is installed.
const NODE_PATH = join(root, 'packages/crypto/node_modules');

// In one profile: this is about the programs in the documentation. kek-rotation.test.ts has the calls in both.
const [system, { admin }] = useSystem('mini');
let folder: string;
let secret: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-documentation-'));
  const { body } = await admin.post('/webhooks/kek-rotation/secrets').expect(201);
  secret = body.secret as string;
});
afterAll(() => rm(folder, { recursive: true }));

/** Writes a program of docs/webhooks.md, by the words behind its fence, to a file. */
async function programOf(fence: string, file: string): Promise<string> {
  const page = await readFile(join(root, 'docs/webhooks.md'), 'utf8');
  const blocks = page.split(`\n\`\`\`${fence}\n`);
  expect(blocks).toHaveLength(2);
  const path = join(folder, file);
  await writeFile(path, blocks[1]!.slice(0, blocks[1]!.indexOf('\n```') + 1));
  return path;
}

describe('the caller of docs/webhooks.md starts a rotation and follows it:', () => {
  const callers: [string, string, string, (path: string) => [string, string[]]][] = [
    ['curl and openssl', 'sh', 'caller.sh', (path) => ['/bin/sh', [path]]],
    ['Python', 'python', 'caller.py', (path) => [findServer('python3'), [path]]],
    ['Node', 'js', 'caller.mjs', (path) => [process.execPath, [path]]],
  ];

  test.each(callers)('%s', async (_what, fence, file, command) => {
    for (const program of ['curl', 'openssl']) findServer(program);
    await query(system, 'delete from rotation');
    const { code, output } = await run(...command(await programOf(fence, file)), secret);
    expect([code, output]).toEqual([0, expect.stringContaining('"state":')]);
    const [rotation] = await query<{ id: string }>(system, 'select id from rotation');
    expect(JSON.parse(output)).toMatchObject({ id: rotation!.id, state: 'running' });
    const newest = await admin.auditEntries({ limit: '3' });
    const actions = newest.map(({ event }) => event.action).toReversed();
    expect(actions).toEqual(['webhook.receive', 'rotation.start', 'webhook.follow']);
  });

  test.each(callers)('%s, which fails with another secret', async (_what, fence, file, command) => {
    await query(system, 'delete from rotation');
    const other = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
    const { code } = await run(...command(await programOf(fence, file)), other);
    expect(code).not.toBe(0);
    expect(await query(system, 'select id from rotation')).toEqual([]);
  });
});

async function run(program: string, words: string[], withSecret: string): Promise<{ code: number; output: string }> {
  const env = { ...process.env, CARDEA_URL: system.url, CARDEA_WEBHOOK_SECRET: withSecret };
  const child = spawn(program, words, { env, stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(child, 'exit');
  const output = await text(child.stdout);
  const [code] = (await ended) as [number];
  return { code, output };
}

describe('the receiver of docs/webhooks.md takes what Cardea sends, and refuses what is forged:', () => {
  const receivers: [string, string, string, (path: string) => [string, string[]]][] = [
    ['Node', 'cjs', 'receiver.cjs', (path) => [process.execPath, [path]]],
    ['Python', 'python receiver', 'receiver.py', (path) => [findServer('python3'), [path]]],
  ];

  test.each(receivers)('%s', async (_what, fence, file, command) => {
    await query(system, 'delete from webhook_delivery');
    const { child, port, nextLine } = await start(...command(await programOf(fence, file)));
    try {
      const url = `http://127.0.0.1:${port}/`;
      await configure(system, [{ name: 'documented', url, events: ['kek.rotated'] }]);
      const data = { kekVersion: 2 };
      const publication = { kind: 'kek.rotated', data, at: system.now().getTime() } as const;
      await system.vault.db.transaction((tx) => publish(system.vault, tx, [publication]));
      await system.runJob('webhook.deliver', {});
      const [kind, told] = splitOnce(await nextLine());
      expect([kind, JSON.parse(told)]).toEqual(['kek.rotated', data]);
      const listed = await (await system.as('admin')).get('/webhooks/deliveries').expect(200);
      expect(listed.body.items).toMatchObject([{ state: 'delivered' }]);

      const headers = {
        'webhook-id': 'forged',
        'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
        'webhook-signature': `v1,${Buffer.alloc(32).toString('base64')}`,
      };
      expect((await fetch(url, { method: 'POST', headers, body: '{}' })).status).toBe(401);
    } finally {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
  });
});

async function start(
  program: string,
  words: string[],
): Promise<{ child: ChildProcess; port: number; nextLine(): Promise<string> }> {
  const env = { ...process.env, NODE_PATH, RECEIVER_SECRET: SECRET, RECEIVER_PORT: '0' };
  const child = spawn(program, words, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => String((await lines.next()).value);
  const [, port] = splitOnce(await nextLine());
  return { child, port: Number(port), nextLine };
}

function splitOnce(line: string): [string, string] {
  const blank = line.indexOf(' ');
  return [line.slice(0, blank), line.slice(blank + 1)];
}
