import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StartError } from '@cardea/process/config';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readWebhooksFile } from '../src/webhooks-file.ts';

const KEY = Buffer.alloc(32, 7);
const SECRET = `whsec_${KEY.toString('base64')}`;
const endpoint = { name: 'pager', url: 'https://hooks.example/in', events: ['secret.expired'], secret: SECRET };
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-webhooks-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function write(name: string, content: string, mode = 0o600): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

const read = async (content: string, env: NodeJS.ProcessEnv = {}, mode = 0o600) =>
  readWebhooksFile(await write('webhooks', content, mode), env);

const yaml = (source: string) => `
endpoints:
  - name: pager
    url: https://hooks.example/in
    events: [secret.expired]
    ${source}
    allowNetworks: [10.1.0.0/16]
`;

/** The message of the StartError for one endpoint. */
async function problem(change: object, env: NodeJS.ProcessEnv = {}): Promise<string> {
  try {
    await read(JSON.stringify({ endpoints: [{ ...endpoint, ...change }] }), env);
  } catch (error) {
    expect(error).toBeInstanceOf(StartError);
    expect(String(error)).not.toContain(KEY.toString('base64'));
    return String(error);
  }
  throw new Error('the file was accepted');
}

describe('a file of receivers', () => {
  const expected = {
    name: 'pager',
    url: 'https://hooks.example/in',
    events: new Set(['secret.expired']),
    key: KEY,
    allowNetworks: ['10.1.0.0/16'],
  };

  test('may be JSON', async () => {
    const endpoints = [{ ...endpoint, allowNetworks: ['10.1.0.0/16'] }];
    expect(await read(JSON.stringify({ endpoints }))).toEqual([expected]);
  });

  test('may be YAML, with secrets in files of their own or in variables', async () => {
    await write('pager.secret', `${SECRET}\n`, 0o400);
    expect(await read(yaml('secretFile: pager.secret'), {}, 0o644)).toEqual([expected]);
    expect(await read(yaml('secretEnv: PAGER_SECRET'), { PAGER_SECRET: SECRET }, 0o644)).toEqual([expected]);
  });

  test('that other users can read must not hold a secret', async () => {
    const text = JSON.stringify({ endpoints: [endpoint] });
    await expect(read(text, {}, 0o640)).rejects.toThrow(/other users can read it: run chmod 600/);
    await write('pager.secret', SECRET, 0o644);
    const change = { secret: undefined, secretFile: 'pager.secret' };
    expect(await problem(change)).toMatch(/pager\.secret.*can be read by other users of this machine: run chmod 400/);
  });

  test('that is missing or broken is a start that cannot succeed', async () => {
    expect(() => readWebhooksFile(join(folder, 'none'), {})).toThrow(
      /cannot be read, because it is not there \(ENOENT\)/,
    );
    await expect(read('endpoints: [')).rejects.toThrow(/is not JSON or YAML/);
    await expect(read('endpoints: {}')).rejects.toThrow(/endpoints/);
    const twice = { endpoints: [endpoint, { ...endpoint, url: 'https://other.example/' }] };
    await expect(read(JSON.stringify(twice))).rejects.toThrow(/two endpoints have the name pager/);
  });

  test.each<[string, object, RegExp]>([
    ['http', { url: 'http://hooks.example/' }, /must begin with https/],
    ['another scheme', { url: 'file:///etc/passwd', allowHttp: true }, /must begin with https/],
    ['no URL', { url: 'hooks.example' }, /must begin with https/],
    ['a password in the URL', { url: 'https://u:p@hooks.example/' }, /no user, no password/],
    ['an unknown event', { events: ['secret.read'] }, /events/],
    ['no event', { events: [] }, /events/],
    [
      'a network with host bits',
      { allowNetworks: ['10.1.2.3/8'] },
      /must be an address or a network .* with host bits 0/,
    ],
    ['an unknown field', { retries: 3 }, /retries/],
    ['no secret', { secret: undefined }, /needs one of secret, secretFile and secretEnv/],
    ['two secrets', { secretEnv: 'PAGER_SECRET' }, /needs one of/],
    ['a short secret', { secret: `whsec_${Buffer.alloc(16, 7).toString('base64')}` }, /24 to 64 bytes/],
    ['a secret without its prefix', { secret: KEY.toString('base64') }, /must be whsec_/],
    ['a variable that is not set', { secret: undefined, secretEnv: 'PAGER_SECRET' }, /which is not set/],
  ])('with %s is refused, and the message holds no secret', async (_what, change, message) => {
    expect(await problem(change)).toMatch(message);
  });

  test('may allow http', async () => {
    const url = 'http://hooks.internal/in';
    expect(await read(JSON.stringify({ endpoints: [{ ...endpoint, url, allowHttp: true }] }))).toMatchObject([{ url }]);
  });
});
