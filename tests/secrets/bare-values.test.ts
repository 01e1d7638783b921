import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { inEachProfile } from '@cardea/testkit/use-system';
import { beforeAll, expect, test } from '@jest/globals';
import { grant } from '../access/granting.ts';
import { expectRecords } from '../identity/identity.ts';
import { at } from './ground.ts';

const run = promisify(execFile);
const VAULT = 'bare';
const TEXT = 'pass "word" 1\n\u0000é😀';
const BYTES = Buffer.from([0, 255, 10, 13, 128]);
const LARGEST = 'x'.repeat(8_192);

inEachProfile((system, { alice, bob }) => {
  beforeAll(async () => {
    await alice.createVault(VAULT);
    await alice.put(at(VAULT, 'text'), { value: 'old' }).expect(201);
    await alice.put(at(VAULT, 'text'), { value: TEXT, contentType: 'application/x-own' }).expect(200);
    await alice.put(at(VAULT, 'bytes'), { value: BYTES.toString('base64'), encoding: 'base64' }).expect(201);
    await alice.put(at(VAULT, 'largest'), { value: LARGEST }).expect(201);
    await grant(alice, VAULT, 'user:bob', { secrets: ['list'] });
  });

  async function read(path: string, accept: string, by = alice) {
    const answer = await fetch(`${system.url}/api/v1${path}`, {
      headers: { Authorization: `Bearer ${by.token}`, Accept: accept },
    });
    const headers = Object.fromEntries(answer.headers);
    return { status: answer.status, headers, bytes: Buffer.from(await answer.arrayBuffer()) };
  }

  test.each([
    ['text', 'text/plain', Buffer.from(TEXT), 'text/plain; charset=utf-8'],
    ['text?version=1', 'text/plain', Buffer.from('old'), 'text/plain; charset=utf-8'],
    ['text', 'application/octet-stream', Buffer.from(TEXT), 'application/octet-stream'],
    ['bytes', 'application/octet-stream', BYTES, 'application/octet-stream'],
    // Bytes that are no text are not called text.
    ['bytes', 'text/plain', BYTES, 'application/octet-stream'],
    ['largest', 'text/plain, */*;q=0.1', Buffer.from(LARGEST), 'text/plain; charset=utf-8'],
  ])(
    '%s is read bare with Accept: %s, with the headers and the record of any read',
    async (name, accept, bytes, type) => {
      const bare = await read(at(VAULT, name), accept);
      const json = await read(at(VAULT, name), 'application/json');
      expect([bare.status, bare.bytes]).toEqual([200, bytes]);
      expect(bare.headers).toMatchObject({
        'content-type': type,
        'content-length': String(bytes.length),
        etag: json.headers['etag'],
        'cardea-receipt': expect.stringMatching(/^seq=\d+ leaf=/),
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
      });
      expect(Object.keys(bare.headers).toSorted()).toEqual(Object.keys(json.headers).toSorted());
      const resource = expect.objectContaining({ vault: VAULT, name: name.split('?')[0] }) as never;
      await expectRecords(system, bare, { action: 'secret.read', decision: 'allow', resource });
    },
  );

  test('what a client takes as well as JSON, and what nothing matches, is JSON', async () => {
    for (const accept of [
      '*/*',
      'application/json, text/plain, */*',
      'image/png',
      'text/plain;q=0.5, application/json',
    ]) {
      const { status, headers, bytes } = await read(at(VAULT, 'text'), accept);
      expect([accept, status, headers['content-type']]).toEqual([accept, 200, 'application/json; charset=utf-8']);
      expect(JSON.parse(bytes.toString())).toMatchObject({ name: 'text', value: TEXT });
    }
  });

  test('a refusal is a problem, never a value, and is recorded', async () => {
    const refused = await read(at(VAULT, 'text'), 'text/plain', bob);
    expect([refused.status, refused.headers['content-type']]).toEqual([403, 'application/problem+json']);
    expect(JSON.parse(refused.bytes.toString())).toMatchObject({ code: 'access_denied' });
    await expectRecords(system, refused, { action: 'secret.read', decision: 'deny', reason: 'access_denied' });
    expect((await read(at(VAULT, 'none'), 'text/plain')).status).toBe(404);
  });

  test('a condition holds for it, and HEAD has its headers without its bytes', async () => {
    const headers = { Authorization: `Bearer ${alice.token}`, Accept: 'text/plain' };
    const url = `${system.url}/api/v1${at(VAULT, 'text')}`;
    const known = await fetch(url, { headers: { ...headers, 'If-None-Match': '"2"' } });
    expect([known.status, await known.text()]).toEqual([304, '']);
    const head = await fetch(url, { method: 'HEAD', headers });
    const { bytes } = await read(at(VAULT, 'text'), 'text/plain');
    expect([head.headers.get('content-length'), await head.text()]).toEqual([String(bytes.length), '']);
  });

  test('one line of a shell reads it into a variable', async () => {
    await alice.put(at(VAULT, 'db/password'), { value: 'it\'s "$HOME" `id`' }).expect(201);
    const script = 'PASSWORD=$(curl -sSf -H "$AUTH" -H "Accept: text/plain" "$URL") && printf %s "$PASSWORD"';
    const env = {
      AUTH: `Authorization: Bearer ${alice.token}`,
      URL: `${system.url}/api/v1${at(VAULT, 'db/password')}`,
    };
    const { stdout } = await run('sh', ['-c', script], { env: { ...process.env, ...env } });
    expect(stdout).toBe('it\'s "$HOME" `id`');
  });
});
