import { useSystem } from '@cardea/testkit/use-system';
import { beforeAll, expect, test } from '@jest/globals';
import { expectRecords } from '../identity/identity.ts';
import { namesIn } from './ground.ts';

// A slash at the end of a prefix says nothing more, wherever a prefix is taken. In one profile: it is taken off before
// anything else happens.
const [system, { alice, bob }] = useSystem('mini');
const VAULT = '/vaults/prefixes';
const names = ['db', 'db/password', 'db2/password'];

beforeAll(async () => {
  await alice.createVault('prefixes');
  for (const name of names) await alice.putSecret('prefixes', name, `value of ${name}`);
});

test.each(['db', 'db/'])('an export, a deletion and a move of %s cover db and what is under it', async (prefix) => {
  const exported = await alice.post(`${VAULT}/secrets:export`, { format: 'json', prefix }).expect(200);
  expect(JSON.parse(exported.body.content as string)).toEqual({ '.': 'value of db', password: 'value of db/password' });
  const { body: deleted } = await alice.post(`${VAULT}/secrets:delete`, { prefix, dryRun: true }).expect(200);
  expect(deleted.items).toMatchObject([{ name: 'db' }, { name: 'db/password' }]);
  const moving = { prefix, toPrefix: prefix.replace('db', 'moved'), dryRun: true };
  const moved = await alice.post(`${VAULT}/secrets:move`, moving).expect(200);
  expect(moved.body.items).toMatchObject([
    { name: 'db', toName: 'moved' },
    { name: 'db/password', toName: 'moved/password' },
  ]);
});

test.each(['new', 'new/'])('an import under %s writes new/a', async (prefix) => {
  const document = { format: 'dotenv', content: 'a=b', prefix };
  const answer = await alice.post(`${VAULT}/secrets:import`, document).expect(200);
  expect(answer.body.items).toMatchObject([{ name: 'new/a' }]);
  expect(await namesIn(alice, 'prefixes')).toEqual([...names, 'new/a']);
});

test('a grant for apps/ is one for apps, and is recorded and shown so', async () => {
  await alice.putSecret('prefixes', 'apps/ci', 'mine');
  const put = await alice.put(`${VAULT}/grants/user:bob`, { secrets: ['read'], pathPrefix: 'apps/' }).expect(201);
  expect(put.body.pathPrefix).toBe('apps');
  const changes = expect.objectContaining({ pathPrefix: { to: 'apps' } }) as never;
  await expectRecords(system, put, { action: 'grant.write', decision: 'allow', changes });
  expect(await bob.readSecret('prefixes', 'apps/ci')).toBe('mine');
  await bob.get(`${VAULT}/secrets/db/password`).expect(404);
});

test.each(['/', '//', 'db//', '/db', 'db/../', './', 'db/./'])('%s is no prefix', async (prefix) => {
  const answer = await alice.post(`${VAULT}/secrets:export`, { format: 'json', prefix }).expect(400);
  await expectRecords(system, answer, { action: 'secret.export', decision: 'deny', reason: 'invalid_request' });
});

test('a prefix may have 512 characters, and a slash', async () => {
  const longest = `${'x'.repeat(127)}/`.repeat(4).slice(0, 511) + 'y';
  for (const prefix of [longest, `${longest}/`]) {
    await alice.post(`${VAULT}/secrets:export`, { format: 'json', prefix }).expect(200);
  }
  await alice.post(`${VAULT}/secrets:export`, { format: 'json', prefix: `${longest}z` }).expect(400);
});
