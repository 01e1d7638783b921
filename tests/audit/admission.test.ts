import type { Person } from '@cardea/testkit/person';
import { createTestSystem, profiles } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { at, query, untilAnswers } from '../secrets/ground.ts';

const REFERENCE = 'application/vnd.cardea.reference+json';
const unavailable = expect.objectContaining({ code: 'unavailable' });

// invariants.test.ts has the other half of I1: a log that stops answering in between lets nothing out.
describe.each(profiles)('in profile %s, while the audit log is known not to answer', (profile) => {
  let system: TestSystem;
  let alice: Person;
  let carla: Person;
  /** The number of DEKs that are unwrapped here, and of those that are not. */
  let [known, unknown] = ['', ''];

  beforeAll(async () => {
    system = await createTestSystem(profile);
    [alice, carla] = [await system.as('alice'), await system.as('carla')];
    for (const vault of ['plain', 'pointing', 'known']) {
      await alice.createVault(vault);
      for (const value of ['one', 'two']) await alice.putSecret(vault, 's', value);
      const value = JSON.stringify({ $ref: { vault: 'plain', name: 's' } });
      await alice.put(at(vault, 'r'), { value, contentType: REFERENCE }).expect(201);
    }
    system.vault.deks.clear();
    [known, unknown] = [await idOf('known'), await idOf('plain')];
    await alice.readSecret('known', 's');
    await system.stopService('audit');
    await alice.get('/auth/me').expect(503);
  });
  afterAll(async () => {
    await system[Symbol.asyncDispose]();
  });

  const idOf = async (vault: string) => (await alice.get(`/vaults/${vault}`).expect(200)).body.id as string;

  /** The calls to wrap and unwrap that kek-service got until now. */
  async function dekOperations(): Promise<string[]> {
    const metrics = await (await fetch(`${system.kekOpsUrl}/metrics`)).text();
    return metrics.split('\n').filter((line) => line.startsWith('cardea_dek_operations_total'));
  }

  const failures = () => query(system, `select * from sign_in_failure order by subject`);

  const calls: [string, () => ReturnType<Person['get']>][] = [
    ['a secret', () => alice.get(at('plain', 's'))],
    ['the target of a reference', () => alice.get(`${at('pointing', 'r')}?resolve=true`)],
    ['several secrets', () => alice.post('/vaults/plain/secrets:batchRead', { names: ['s', 'r'] })],
    ['an export', () => alice.post('/vaults/plain/secrets:export', { format: 'json' })],
    ['a secret by break-glass', () => carla.post(`${at('plain', 's')}:breakGlass`, { reason: 'nobody is looking' })],
    ['a new value', () => alice.put(at('plain', 's'), { value: 'three' })],
    ['a generated value', () => alice.post(`${at('plain', 's')}:generate`)],
    ['an old value again', () => alice.post(`${at('plain', 's')}:rollback`, { version: 1 })],
    ['a move', () => alice.post(`${at('plain', 's')}:move`, { vault: 'pointing', name: 'moved' })],
    ['a vault and its DEK', () => alice.post('/vaults', { name: 'new' })],
  ];

  test.each(calls)('kek-service gets no call: %s', async (_what, call) => {
    const before = await dekOperations();
    expect(before).toHaveLength(3);
    const { status, body } = await call();
    expect([status, body.code]).toEqual([503, 'unavailable']);
    expect(await dekOperations()).toEqual(before);
  });

  test('an unwrapped DEK opens nothing and no DEK is unwrapped, for any caller', async () => {
    const { deks } = system.vault;
    const before = await dekOperations();
    for (const vaultId of [known, unknown]) {
      const dek = { vaultId, dekVersion: 1 };
      let used = 0;
      expect(() => deks.get(dek)).toThrow(unavailable);
      await expect(deks.use(dek, () => (used += 1))).rejects.toEqual(unavailable);
      expect(used).toBe(0);
    }
    await expect(deks.load({ vaultId: unknown, dekVersion: 1 })).rejects.toEqual(unavailable);
    expect(await dekOperations()).toEqual(before);
  });

  test('no client is told that it already has the newest version', async () => {
    const { status, headers } = await alice.get(at('known', 's')).set('If-None-Match', '"2"');
    expect([status, headers['etag']]).toEqual([503, undefined]);
  });

  test('no guess at a password is checked, because none is counted', async () => {
    const before = await failures();
    for (let i = 0; i < 10; i += 1) {
      await system.stranger.post('/auth/login', { username: 'bob', password: `guess ${i}` }).expect(503);
    }
    expect(await failures()).toEqual(before);
  });

  test('everything works again once the log answers', async () => {
    await system.startService('audit');
    await untilAnswers(alice);
    expect(await alice.readSecret('plain', 's')).toBe('two');
    await alice.get(at('known', 's')).set('If-None-Match', '"2"').expect(304);
  });
});
