import { DAY_MS } from '@cardea/contracts/durations';
import type { Person } from '@cardea/testkit/person';
import { inEachProfile } from '@cardea/testkit/use-system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { countStatuses, expectRecords } from '../identity/identity.ts';
import { pass } from '../rotation/ground.ts';
import { at, namesIn } from '../secrets/ground.ts';
import { grant, newUser, ownersOf } from './granting.ts';

const VAULTS = 3;
const SECRETS = 4;
const KEYS = 3;
const settings = {
  CARDEA_VAULTS_MADE_PER_USER: String(VAULTS),
  CARDEA_SECRETS_PER_VAULT: String(SECRETS),
  CARDEA_KEYS_PER_VAULT: String(KEYS),
};

inEachProfile((system, { admin, alice, bob }) => {
  type Answer = Awaited<ReturnType<Person['get']>>;

  async function expectFull(answer: Answer, action: string, words: RegExp): Promise<void> {
    expect([answer.status, answer.body.code]).toEqual([409, 'conflict']);
    expect(answer.body.detail).toMatch(words);
    await expectRecords(system, answer, {
      action,
      decision: 'deny',
      reason: 'conflict',
      rule: 'quota',
    });
  }

  describe('a maker of vaults', () => {
    const words = new RegExp(`a user may have made ${VAULTS} vaults at most`);

    test('makes as many vaults as allowed, also at once, and another after one is deleted', async () => {
      const owner = await newUser(system, 'owner');
      const names = Array.from({ length: VAULTS + 4 }, (_, i) => `owned-${i}`);
      const answers = await Promise.all(names.map((name) => owner.post('/vaults', { name })));
      expect(countStatuses(answers)).toEqual({ 201: VAULTS, 409: 4 });
      await expectFull(
        answers.find(({ status }) => status === 409)!,
        'vault.create',
        words,
      );

      const [made, refused] = [201, 409].map((status) => names[answers.findIndex((one) => one.status === status)]!);
      await owner.delete(`/vaults/${made}`).expect(204);
      await owner.post('/vaults', { name: refused }).expect(201);
    });

    test('has the same room whatever vaults others give them, and gets none by giving theirs away', async () => {
      const [giver, given] = [await newUser(system, 'giver'), await newUser(system, 'given')];
      for (let i = 0; i < VAULTS; i += 1) {
        await giver.createVault(`gift-${i}`);
        await grant(giver, `gift-${i}`, 'user:given', { owner: true }).expect(201);
        await giver.delete(`/vaults/gift-${i}/grants/user:giver`).expect(204);
      }
      for (let i = 0; i < VAULTS; i += 1) await given.createVault(`own-${i}`);
      await expectFull(await given.post('/vaults', { name: 'own-more' }), 'vault.create', words);
      await expectFull(await giver.post('/vaults', { name: 'gift-more' }), 'vault.create', words);

      // The vault of another makes no room, one's own does, whoever deletes it.
      await given.delete('/vaults/gift-0').expect(204);
      await expectFull(await given.post('/vaults', { name: 'own-more' }), 'vault.create', words);
      await giver.createVault('gift-more');
    });

    test('who has no room left is still the heir of a user who is deleted', async () => {
      const [full, leaver] = [await newUser(system, 'full'), await newUser(system, 'leaver')];
      for (let i = 0; i < VAULTS; i += 1) await full.createVault(`full-${i}`);
      await leaver.createVault('left');
      await admin.delete('/users/leaver?successor=full').expect(204);
      expect(await ownersOf(system, 'left')).toEqual(['user:full']);
    });
  });

  describe('a vault', () => {
    const words = new RegExp(`a vault may hold ${SECRETS} secrets at most`);
    const all = Array.from({ length: SECRETS }, (_, i) => `s${i}`);

    beforeAll(async () => {
      await alice.createVault('full');
      for (const name of all) await alice.putSecret('full', name, 'v');
      await alice.createVault('source');
      await alice.putSecret('source', 'dir/other', 'v');
    });

    test('takes as many secrets as allowed from writers at once', async () => {
      await bob.createVault('race');
      const puts = Array.from({ length: SECRETS + 6 }, (_, i) => bob.put(at('race', `s${i}`), { value: 'v' }));
      expect(countStatuses(await Promise.all(puts))).toEqual({ 201: SECRETS, 409: 6 });
      expect(await namesIn(bob, 'race')).toHaveLength(SECRETS);
    });

    const ways: [string, string, () => PromiseLike<Answer>][] = [
      ['a PUT', 'secret.write', () => alice.put(at('full', 'more'), { value: 'v' })],
      ['a generated value', 'secret.generate', () => alice.post(`${at('full', 'more')}:generate`)],
      [
        'a batch',
        'secret.write',
        () =>
          alice.post('/vaults/full/secrets:batchWrite', {
            secrets: ['s0', 'more'].map((name) => ({ name, value: 'w' })),
          }),
      ],
      [
        'an import',
        'secret.import',
        () => alice.post('/vaults/full/secrets:import', { format: 'dotenv', content: 's0=w\nmore=w' }),
      ],
      [
        'a dry run of an import',
        'secret.import',
        () => alice.post('/vaults/full/secrets:import', { format: 'dotenv', content: 'more=w', dryRun: true }),
      ],
      [
        'a dry run of a move',
        'secret.move',
        () =>
          alice.post('/vaults/source/secrets:move', { prefix: 'dir', vault: 'full', toPrefix: 'more', dryRun: true }),
      ],
      ['a move', 'secret.move', () => alice.post(`${at('source', 'dir/other')}:move`, { vault: 'full', name: 'more' })],
      [
        'a move of several',
        'secret.move',
        () => alice.post('/vaults/source/secrets:move', { prefix: 'dir', vault: 'full', toPrefix: 'more' }),
      ],
    ];

    test.each(ways)('takes no further secret from %s, and nothing of it is done', async (_name, action, way) => {
      await expectFull(await way(), action, words);
      expect(await namesIn(alice, 'full')).toEqual(all);
      expect(await alice.readSecret('full', 's0')).toBe('v');
      expect(await namesIn(alice, 'source')).toEqual(['dir/other']);
    });

    test('takes new versions, names within it and what returns from the trash, and a new name after a purge', async () => {
      await alice.put(at('full', 's0'), { value: 'v2' }).expect(200);
      await alice.post(`${at('full', 's1')}:move`, { name: 'renamed' }).expect(200);
      await alice.delete(at('full', 's2')).expect(204);
      await expectFull(await alice.put(at('full', 'more'), { value: 'v' }), 'secret.write', /with those in the trash/);
      await alice.post(`${at('full', 's2')}:restore`).expect(200);
      await alice.delete(at('full', 's2')).expect(204);
      await alice.post(`${at('full', 's2')}:purge`).expect(204);
      await alice.put(at('full', 'more'), { value: 'v' }).expect(201);
    });
  });

  test('a vault takes as many keys as allowed, also at once, and another once a deleted one is destroyed', async () => {
    const names = Array.from({ length: KEYS + 3 }, (_, i) => `k${i}`);
    await alice.createVault('keyring');
    const make = (name: string) => alice.post('/vaults/keyring/keys', { name, algorithm: 'aes-256-gcm' });
    const answers = await Promise.all(names.map(make));
    expect(countStatuses(answers)).toEqual({ 201: KEYS, 409: 3 });
    const made = names[answers.findIndex(({ status }) => status === 201)]!;
    const words = new RegExp(`a vault may hold ${KEYS} keys at most`);
    await expectFull(
      answers.find(({ status }) => status === 409)!,
      'key.create',
      words,
    );

    await alice.delete(`/vaults/keyring/keys/${made}?pendingDays=7`).expect(202);
    await expectFull(await make('more'), 'key.create', words);
    await pass(system, 8 * DAY_MS);
    await system.runJob('key.sweep', {});
    await (await system.as('alice')).post('/vaults/keyring/keys', { name: 'more', algorithm: 'ed25519' }).expect(201);
  });
}, settings);
