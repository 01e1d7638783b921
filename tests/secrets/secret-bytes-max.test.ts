import { readApiConfig } from '@cardea/api-service/config';
import { startNginx } from '@cardea/testkit/nginx';
import type { Person } from '@cardea/testkit/person';
import { sendRequest } from '@cardea/testkit/raw-http';
import { useSystem } from '@cardea/testkit/use-system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { expectRecords } from '../identity/identity.ts';
import { at } from './ground.ts';

// CARDEA_SECRET_BYTES_MAX says how large a value may be. In one profile: the rule is the same, and no column has a limit.
const VAULT = 'sizes';

describe.each([
  ['the highest', 65_536],
  ['a low', 2_000],
])('with %s limit of values', (_what, max) => {
  const [system, { alice }] = useSystem('mini', { CARDEA_SECRET_BYTES_MAX: String(max), CARDEA_TRUSTED_PROXIES: '1' });
  const is = `is larger than ${max} bytes`;

  beforeAll(async () => {
    await alice.createVault(VAULT);
  });

  test.each([
    // JSON has six characters for such a byte.
    ['control characters', '\u0001'.repeat(max), '\u0001'.repeat(max + 1), 'utf8'],
    ['letters of two bytes', 'é'.repeat(max / 2), 'é'.repeat(max / 2 + 1), 'utf8'],
    ['bytes', Buffer.alloc(max, 7).toString('base64'), Buffer.alloc(max + 1, 7).toString('base64'), 'base64'],
  ])('%s are stored and read up to it, and refused beyond it', async (name, full, more, encoding) => {
    const path = at(VAULT, name.replaceAll(' ', '-'));
    await alice.put(path, { value: full, encoding }).expect(201);
    expect((await alice.get(path).expect(200)).body.value).toBe(full);
    const refused = await alice.put(path, { value: more, encoding }).expect(413);
    expect(refused.body).toMatchObject({
      code: 'too_large',
      detail: `body.value: ${is}`,
      errors: [{ path: 'body.value', message: is }],
    });
    await expectRecords(system, refused, { action: 'secret.write', decision: 'deny', reason: 'too_large' });
    expect((await alice.get(path).expect(200)).body).toMatchObject({ version: 1, value: full });
  });

  test('a batch and a document name the value that is too large', async () => {
    const value = 'x'.repeat(max + 1);
    const batch = {
      secrets: [
        { name: 'a', value: 'x'.repeat(max) },
        { name: 'b', value },
      ],
    };
    const refused = await alice.post(`/vaults/${VAULT}/secrets:batchWrite`, batch).expect(413);
    expect(refused.body.errors).toEqual([{ path: 'body.secrets.1.value', message: is }]);
    await expectRecords(system, refused, { action: 'secret.write', decision: 'deny', reason: 'too_large' });
    const document = { format: 'dotenv', content: `a=${value.slice(1)}\nb=${value}`, dryRun: true };
    const tried = await alice.post(`/vaults/${VAULT}/secrets:import`, document).expect(200);
    expect(tried.body.items).toEqual([
      { name: 'a', result: 'created' },
      { name: 'b', result: 'refused', reason: `value: ${is}` },
    ]);
    await alice.get(at(VAULT, 'a')).expect(404);
  });

  test('the largest value goes through nginx', async () => {
    const nginx = await startNginx(system.url);
    try {
      expect(await putAndRead(nginx.url, alice, '\u0001'.repeat(max))).toEqual([201, 200, '\u0001'.repeat(max)]);
    } finally {
      await nginx.stop();
    }
  });

  test('a stranger may send no larger body than before', async () => {
    const target = `/api/v1${at(VAULT, 'none')}`;
    const headers = { Authorization: 'Bearer none', 'Content-Type': 'application/json', 'Content-Length': '200000' };
    expect((await sendRequest(system.url, { method: 'PUT', target, headers })).status).toBe(401);
  });
});

test.each(['1023', '65537', '0', '8k'])('a limit of %s is no setting', (text) => {
  expect(() => readApiConfig({ CARDEA_SECRET_BYTES_MAX: text })).toThrow(/CARDEA_SECRET_BYTES_MAX/);
});

async function putAndRead(url: string, { token }: Person, value: string): Promise<[number, number, string]> {
  const target = `/api/v1${at(VAULT, 'through')}`;
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
  const put = await sendRequest(url, { method: 'PUT', target, headers, body: JSON.stringify({ value }) });
  const read = await sendRequest(url, { target, headers: { Authorization: `Bearer ${token}`, Accept: 'text/plain' } });
  return [put.status, read.status, read.body];
}
