import type { Db } from '@cardea/storage/db';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { Entry } from '@cardea/testkit/person';
import { sendRequest } from '@cardea/testkit/raw-http';
import type { RawAnswer } from '@cardea/testkit/raw-http';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { badNames, goodNames, oddPaths } from '../access/name-table.ts';

const SECRETS = '/vaults/names/secrets';
const REFERENCE = 'application/vnd.cardea.reference+json';

inEachProfile((system, { admin, bob }) => {
  let db: Db;

  beforeAll(async () => {
    await admin.createVault('names');
    await admin.putSecret('names', 'there', 'already');
    db = system.openDatabase();
  });
  afterEach(async () => {
    // So that one failure does not cause more.
    for (const name of await storedNames()) if (name !== 'there') await purge(name);
  });
  afterAll(async () => {
    await db.close();
  });

  function send(method: string, path: string, body?: object): Promise<RawAnswer> {
    return sendRequest(system.url, {
      method,
      target: `/api/v1${SECRETS}/${path}`,
      headers: { Authorization: `Bearer ${admin.token}`, ...(body ? { 'Content-Type': 'application/json' } : {}) },
      body: body ? JSON.stringify(body) : '',
    });
  }

  async function storedNames(): Promise<string[]> {
    const rows = await db.query<{ name: string }>('select name from secret');
    return rows.map(({ name }) => name).toSorted();
  }

  async function expectRecords(requestIds: (string | undefined)[]): Promise<void> {
    const { body } = await admin.get('/audit/entries?decision=deny&limit=40').expect(200);
    const recorded = (body.items as Entry[]).map(({ event }) => event.requestId);
    for (const id of requestIds) expect(recorded.filter((requestId) => requestId === id)).toHaveLength(1);
  }

  async function purge(name: string): Promise<void> {
    await admin.request('post', `${SECRETS}/${name}:purge`).expect(204);
  }

  test.each(oddPaths)('in a path: $what', async ({ path, comes }) => {
    const answer = await send('PUT', path, { value: `of ${path}` });
    if (typeof comes === 'number') {
      expect([answer.status, await storedNames()]).toEqual([comes, ['there']]);
      return expectRecords([answer.headers['x-request-id']]);
    }
    const { stored: name } = comes;
    expect([answer.status, await storedNames()]).toEqual([201, [name, 'there'].toSorted()]);
    const read = await send('GET', path);
    expect([read.status, JSON.parse(read.body)]).toMatchObject([200, { name, value: `of ${path}` }]);
    await purge(name);
    expect(await storedNames()).toEqual(['there']);
  });

  /** Every body field that contains the name of a secret or a prefix of one. */
  const fields: [string, (name: string) => [method: 'post' | 'put', path: string, body: object]][] = [
    ['batchRead names', (name) => ['post', `${SECRETS}:batchRead`, { names: ['there', name] }]],
    [
      'batchWrite name',
      (name) => [
        'post',
        `${SECRETS}:batchWrite`,
        {
          secrets: [
            { name: 'x', value: '' },
            { name, value: '' },
          ],
        },
      ],
    ],
    ['delete names', (name) => ['post', `${SECRETS}:delete`, { names: ['there', name] }]],
    ['delete prefix', (name) => ['post', `${SECRETS}:delete`, { prefix: name }]],
    ['move name', (name) => ['post', `${SECRETS}/there:move`, { name }]],
    ['move prefix', (name) => ['post', `${SECRETS}:move`, { prefix: name, toPrefix: 'x' }]],
    ['move toPrefix', (name) => ['post', `${SECRETS}:move`, { prefix: 'there', toPrefix: name }]],
    ['import prefix', (name) => ['post', `${SECRETS}:import`, { format: 'json', content: '{"x":"y"}', prefix: name }]],
    [
      'import content',
      (name) => ['post', `${SECRETS}:import`, { format: 'json', content: JSON.stringify({ x: '', [name]: 'y' }) }],
    ],
    ['export prefix', (name) => ['post', `${SECRETS}:export`, { format: 'json', prefix: name }]],
    ['reference', (name) => ['put', `${SECRETS}/x`, { value: referenceTo(name), contentType: REFERENCE }]],
    [
      'grant pathPrefix',
      (name) => ['put', '/vaults/names/grants/user:bob', { secrets: ['read'], keys: [], pathPrefix: name }],
    ],
    [
      'explain name',
      (name) => ['post', '/access:explain', { principal: 'user:bob', vault: 'names', action: 'secret.read', name }],
    ],
  ];

  test.each(badNames)('no body field accepts %s', async (_what, name) => {
    // A prefix may end in a slash: see prefixes.test.ts.
    const asked = name === 'a/' ? fields.filter(([field]) => !field.endsWith('refix')) : fields;
    const sent = asked.map(async ([field, toRequest]) => {
      const [method, path, body] = toRequest(name);
      const answer = await admin.request(method, path).send(body);
      expect([field, answer.status, answer.body.code]).toEqual([field, 400, 'invalid_request']);
      return answer.headers['x-request-id'];
    });
    const requestIds = await Promise.all(sent);
    expect(await storedNames()).toEqual(['there']);
    expect(await db.query(`select principal from vault_grant where path_prefix is not null`)).toEqual([]);
    await expectRecords(requestIds);
  });

  test.each(goodNames)('every body field accepts %s, and it means this name and no other', async (_what, name) => {
    const value = `of ${name}`;
    await admin.post(`${SECRETS}:batchWrite`, { secrets: [{ name, value }] }).expect(200);
    const { body: batch } = await admin.post(`${SECRETS}:batchRead`, { names: ['there', name] }).expect(200);
    expect(batch.items).toMatchObject([{ name: 'there' }, { name, value }]);

    await admin.put(`${SECRETS}/reference`, { value: referenceTo(name), contentType: REFERENCE }).expect(201);
    expect(await admin.readSecret('names', 'reference')).toBe(value);
    await purge('reference');

    await admin.put('/vaults/names/grants/user:bob', { secrets: ['read'], keys: [], pathPrefix: name }).expect(201);
    await bob.get(`${SECRETS}/${name}`).expect(200);
    await bob.get(`${SECRETS}/there`).expect(404);
    const asked = { principal: 'user:bob', vault: 'names', action: 'secret.read' };
    expect((await admin.post('/access:explain', { ...asked, name }).expect(200)).body.allowed).toBe(true);
    expect((await admin.post('/access:explain', { ...asked, name: otherCase(name) }).expect(200)).body.allowed).toBe(
      otherCase(name) === name,
    );
    await admin.delete('/vaults/names/grants/user:bob').expect(204);

    const content = JSON.stringify(Object.fromEntries([[name, value]]));
    const imported = await admin.post(`${SECRETS}:import`, { format: 'json', content }).expect(200);
    expect(imported.body.items).toMatchObject([{ name, result: 'unchanged' }]);

    await admin.post(`${SECRETS}/${name}:move`, { name: 'moved' }).expect(200);
    expect(await storedNames()).toEqual(['moved', 'there']);
    await admin.post(`${SECRETS}:move`, { prefix: 'moved', toPrefix: name }).expect(200);
    expect(await storedNames()).toEqual([name, 'there'].toSorted());
    const { body: removed } = await admin.post(`${SECRETS}:delete`, { names: [name] }).expect(200);
    expect(removed.items).toMatchObject([{ name }]);
    await purge(name);
    expect(await storedNames()).toEqual(['there']);
  });

  test('names that differ only in case are different secrets', async () => {
    const names = ['case/a', 'Case/a', 'CASE/A', 'case/A'];
    for (const name of names) await admin.putSecret('names', name, `of ${name}`);
    await admin.delete(`${SECRETS}/CASE/A`).expect(204);
    for (const name of names.filter((name) => name !== 'CASE/A')) {
      expect(await admin.readSecret('names', name)).toBe(`of ${name}`);
    }
    await admin.get(`${SECRETS}/CASE/A`).expect(404);
    const { body } = await admin.get(`${SECRETS}?prefix=case/`).expect(200);
    expect((body.items as { name: string }[]).map(({ name }) => name)).toEqual(['case/A', 'case/a']);
    for (const name of names) await purge(name);
  });
});

function referenceTo(name: string): string {
  return JSON.stringify({ $ref: { vault: 'names', name } });
}

function otherCase(name: string): string {
  return name.replace(/[a-z]/i, (letter) =>
    letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
  );
}
