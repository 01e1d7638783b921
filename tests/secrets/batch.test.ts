import { sha256Hex } from '@cardea/crypto/ids';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { Person } from '@cardea/testkit/person';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { grant, newApplication, newUser } from '../access/granting.ts';
import { recordsOf } from '../identity/identity.ts';
import { at, contents, query, reference, untilAnswers } from './ground.ts';

type Item = { name: string; value: string };

const CANARY = 'canary-0b77e1';
const REFERENCE = 'application/vnd.cardea.reference+json';
const names = (count: number) => Array.from({ length: count }, (_, i) => `s${i}`);
const batch = (vault: string, verb: string) => `/vaults/${vault}/secrets:batch${verb}`;

inEachProfile((system, { admin, alice }) => {
  describe('a batch of reads', () => {
    test('returns each value like a single read, in the given order, with a record and a last read by the caller for each', async () => {
      await alice.createVault('read');
      await alice.put(at('read', 'b'), { value: 'text', metadata: { team: 'a' }, ttlSeconds: 60 }).expect(201);
      await alice.put(at('read', 'a'), { value: 'AAEC', encoding: 'base64', contentType: 'image/png' }).expect(201);
      for (const value of ['old', '']) await alice.put(at('read', 'c/d'), { value });
      const answer = await alice.post(batch('read', 'Read'), { names: ['c/d', 'a', 'b'] }).expect(200);
      for (const item of answer.body.items as Item[]) {
        expect((await alice.get(at('read', item.name)).expect(200)).body).toEqual(item);
      }
      expect((answer.body.items as Item[]).map(({ name, value }) => [name, value])).toEqual([
        ['c/d', ''],
        ['a', 'AAEC'],
        ['b', 'text'],
      ]);
      const records = await recordsOf(system, answer);
      expect(
        records.map(({ action, decision, resource, dekVersion }) => [action, decision, resource, dekVersion]),
      ).toEqual(
        [
          ['c/d', 2],
          ['a', 1],
          ['b', 1],
        ].map(([name, version]) => [
          'secret.read',
          'allow',
          { vault: 'read', vaultId: expect.any(String), name, version },
          1,
        ]),
      );
      const [entry] = await admin.auditEntries({ vault: 'read', action: 'secret.read', limit: '500' });
      expect(entry).toBeDefined();
      expect(answer.headers['cardea-receipt']).toMatch(/^seq=\d+ leaf=/);
      const { body } = await alice.get(`${at('read', 'c/d')}:versions`).expect(200);
      expect(body.items).toMatchObject([{ version: 2, lastReadBy: { name: 'alice' } }, { version: 1 }]);
    });

    test('follows references with the rights of the caller, and records every secret on the way', async () => {
      const ben = await newUser(system, 'ben');
      for (const vault of ['pointing', 'pointed']) await alice.createVault(vault);
      await alice.putSecret('pointed', 'open/s', 'shown');
      await alice.putSecret('pointed', 'shut/s', CANARY);
      await alice.put(at('pointing', 'open'), reference('pointed', 'open/s')).expect(201);
      await alice.put(at('pointing', 'shut'), reference('pointed', 'shut/s')).expect(201);
      await grant(alice, 'pointing', 'user:ben', { secrets: ['read'] }).expect(201);
      await grant(alice, 'pointed', 'user:ben', { secrets: ['read'], pathPrefix: 'open' }).expect(201);

      const shown = await ben.post(batch('pointing', 'Read'), { names: ['open'] }).expect(200);
      expect(shown.body.items).toMatchObject([{ name: 'open', value: 'shown' }]);
      expect((await recordsOf(system, shown)).map(({ resource }) => [resource!.vault, resource!.name])).toEqual([
        ['pointing', 'open'],
        ['pointed', 'open/s'],
      ]);
      const refused = await ben.post(batch('pointing', 'Read'), { names: ['open', 'shut'] }).expect(404);
      expect(refused.body.errors).toMatchObject([{ path: 'body.names.1' }]);
      expect(refused.body.detail).toMatch(/^shut: the target of the reference: /);
      expect(await recordsOf(system, refused)).toMatchObject([
        { action: 'secret.read', decision: 'deny', rule: 'grant:path', resource: { vault: 'pointed', name: 'shut/s' } },
      ]);
    });

    describe('with one secret that cannot be read', () => {
      beforeAll(async () => {
        await alice.createVault('half');
        for (const name of ['good', 'trashed', 'destroyed', 'hidden/s']) await alice.putSecret('half', name, CANARY);
        await alice.put(at('half', 'ended'), { value: CANARY, ttlSeconds: 1 }).expect(201);
        await alice.delete(at('half', 'trashed')).expect(204);
        await alice.post(`${at('half', 'destroyed')}:destroy`, { versions: [1] }).expect(200);
        const ci = await newApplication(system, 'half-ci');
        expect(ci.token).not.toBe('');
        system.passTime(1_000);
      });

      test.each([
        ['does not exist', 'missing', 404, 'no-such-secret'],
        ['is in the trash', 'trashed', 404, 'no-such-secret'],
        ['has expired', 'ended', 410, 'expired'],
        ['was destroyed', 'destroyed', 410, 'destroyed'],
      ])('because it %s names it and returns no value', async (_what, name, status, rule) => {
        const answer = await alice.post(batch('half', 'Read'), { names: ['good', name, 'other'] }).expect(status);
        expect(answer.text).not.toContain(CANARY);
        expect(answer.body.errors).toEqual([{ path: 'body.names.1', message: expect.any(String) }]);
        expect(answer.body.detail).toBe(`${name}: ${answer.body.errors[0].message}`);
        const records = await recordsOf(system, answer);
        expect(records).toMatchObject([
          { action: 'secret.read', decision: 'deny', rule, resource: { vault: 'half', name } },
        ]);
      });

      test('because it is outside the grant names it and returns no value', async () => {
        const bob = await system.as('bob');
        await grant(alice, 'half', 'user:bob', { secrets: ['read'], pathPrefix: 'good' }).expect(201);
        const answer = await bob.post(batch('half', 'Read'), { names: ['good', 'hidden/s'] }).expect(404);
        expect(answer.text).not.toContain(CANARY);
        expect(answer.body.errors).toMatchObject([{ path: 'body.names.1' }]);
        expect(await recordsOf(system, answer)).toMatchObject([
          { decision: 'deny', rule: 'grant:path', resource: { vault: 'half', name: 'hidden/s' } },
        ]);
        // A caller who may write but not read learns the first one.
        await grant(alice, 'half', 'user:bob', { secrets: ['write', 'list'] }).expect(200);
        const denied = await bob.post(batch('half', 'Read'), { names: ['good', 'hidden/s'] }).expect(403);
        expect(await recordsOf(system, denied)).toMatchObject([{ decision: 'deny', resource: { name: 'good' } }]);
      });

      test('because its row was put there through the disk returns no value and says so in the log', async () => {
        await alice.createVault('swapped');
        for (const name of ['a', 'b']) await alice.putSecret('swapped', name, CANARY);
        await query(
          system,
          `update secret_version
              set ciphertext = (select v.ciphertext from secret_version v join secret s on s.id = v.secret_id
                                 join vault u on u.id = s.vault_id where u.name = 'swapped' and s.name = 'a')
            where secret_id = (select s.id from secret s join vault u on u.id = s.vault_id
                                where u.name = 'swapped' and s.name = 'b')`,
        );
        const answer = await alice.post(batch('swapped', 'Read'), { names: ['a', 'b'] }).expect(500);
        expect(answer.text).not.toContain(CANARY);
        const damage = {
          suspicious: 'integrity_failure',
          rule: 'integrity',
          resource: { vault: 'swapped', name: 'b' },
        };
        // No record says that the other one was shown.
        expect(await recordsOf(system, answer)).toMatchObject([{ decision: 'deny', ...damage }]);
      });
    });

    test('is refused without names, with a duplicate, with too many or with a malformed name', async () => {
      for (const [path, asked] of [
        ['body.names', []],
        ['body.names.2', ['a', 'b', 'a']],
        ['body.names', names(101)],
        ['body.names.1', ['a', '../b']],
      ] as const) {
        const { body } = await alice.post(batch('half', 'Read'), { names: asked }).expect(400);
        expect(body.errors).toMatchObject([{ path }]);
      }
    });

    test('sees a batch of writes either completely or not at all', async () => {
      await alice.createVault('torn');
      const asked = names(8);
      const write = (value: string) =>
        alice
          .post(batch('torn', 'Write'), { secrets: asked.map((name) => ({ name, value, maxVersions: 2 })) })
          .expect(200);
      await write('0');
      const writing = { isOver: false };
      const writer = (async () => {
        for (let i = 1; i <= 10; i += 1) await write(String(i));
        writing.isOver = true;
      })();
      const seen = new Set<string>();
      while (!writing.isOver) {
        const { body } = await alice.post(batch('torn', 'Read'), { names: asked }).expect(200);
        const values = new Set((body.items as Item[]).map(({ value }) => value));
        expect(values.size).toBe(1);
        for (const value of values) seen.add(value);
      }
      await writer;
      expect(seen.size).toBeGreaterThan(1);
    });
  });

  describe('a batch of writes', () => {
    test('is one change with a record of each secret, and says the result of each', async () => {
      await alice.createVault('written');
      await alice.put(at('written', 'same'), { value: 'v' }).expect(201);
      await alice.put(at('written', 'full'), { value: '1', maxVersions: 1 }).expect(201);
      const expiresAt = new Date(system.now().getTime() + MINUTE_MS).toISOString();
      const answer = await alice
        .post(batch('written', 'Write'), {
          secrets: [
            { name: 'new/a', value: 'AAEC', encoding: 'base64', metadata: { team: 'a' }, expiresAt },
            { name: 'same', value: 'v' },
            { name: 'full', value: '2' },
          ],
        })
        .expect(200);
      expect(answer.body.items).toEqual([
        { name: 'new/a', version: 1, changed: true, createdAt: expect.any(String), expiresAt },
        { name: 'same', version: 1, changed: false, createdAt: expect.any(String) },
        { name: 'full', version: 2, changed: true, createdAt: expect.any(String) },
      ]);
      const records = await recordsOf(system, answer);
      expect(
        records.map(({ action, resource, rule, reason }) => [action, resource!.name, resource!.version, rule, reason]),
      ).toEqual([
        ['secret.write', 'new/a', 1, 'grant:owner', undefined],
        ['secret.write', 'same', 1, 'grant:owner', 'unchanged'],
        ['secret.write', 'full', 2, 'grant:owner', undefined],
        ['secret.destroy', 'full', 1, 'max-versions', undefined],
      ]);
      const [row] = await query<{ ciphertext: Uint8Array }>(
        system,
        `select v.ciphertext from secret_version v join secret s on s.id = v.secret_id where s.name = 'new/a'`,
      );
      expect(records[0]!.ciphertextSha256).toBe(sha256Hex(row!.ciphertext));
      expect((await alice.get(at('written', 'new/a')).expect(200)).body).toMatchObject({
        value: 'AAEC',
        metadata: { team: 'a' },
      });
      expect((await alice.get('/secrets?metadata.team=a&q=new').expect(200)).body.items).toHaveLength(1);
    });

    test('accepts a hundred values of 8 KiB in base64, and refuses more than its limit', async () => {
      await alice.createVault('large');
      const value = Buffer.alloc(8_192, 0xa5).toString('base64');
      const secrets = names(100).map((name) => ({ name, value, encoding: 'base64' }));
      const { body } = await alice.post(batch('large', 'Write'), { secrets }).expect(200);
      expect(body.items).toHaveLength(100);
      const read = await alice.post(batch('large', 'Read'), { names: names(100) }).expect(200);
      expect(new Set((read.body.items as Item[]).map((item) => item.value))).toEqual(new Set([value]));

      const before = await contents(system);
      const oneTooLarge = secrets.map((secret, i) =>
        i === 42 ? { name: secret.name, value: 'x'.repeat(8_193) } : secret,
      );
      const refused = await alice.post(batch('large', 'Write'), { secrets: oneTooLarge }).expect(413);
      expect(refused.body.errors).toMatchObject([{ path: 'body.secrets.42.value' }]);
      const metadata = Object.fromEntries(names(64).map((key) => [key, 'x'.repeat(512)]));
      await alice.post(batch('large', 'Write'), { secrets: secrets.map((one) => ({ ...one, metadata })) }).expect(413);
      expect(await contents(system)).toEqual(before);
    });

    test('with one secret that cannot be written writes none, and names it', async () => {
      await alice.createVault('whole');
      const bob = await system.as('bob');
      await grant(alice, 'whole', 'user:bob', { secrets: ['write'], pathPrefix: 'apps' }).expect(201);
      const good = { name: 'apps/good', value: 'v' };
      const before = await contents(system);
      const past = new Date(system.now().getTime() - 1).toISOString();
      const cases: [Person, number, string, string | undefined, object[]][] = [
        [bob, 400, 'body.secrets.1', undefined, [good, { name: 'apps/b', value: 'v', expiresAt: past }]],
        [bob, 404, 'body.secrets.1', 'grant:path', [good, { name: 'other', value: 'v' }]],
        [
          alice,
          400,
          'body.secrets.2',
          'reference-circle',
          [good, { name: 'x', ...reference('whole', 'y') }, { name: 'y', ...reference('whole', 'x') }],
        ],
        [alice, 400, 'body.secrets.1', undefined, [good, { name: 'x', value: 'v', contentType: REFERENCE }]],
        [alice, 400, 'body.secrets.2.name', undefined, [good, { name: 'x', value: 'v' }, good]],
        [alice, 400, 'body.secrets.1.value', undefined, [good, { name: 'x', value: '!', encoding: 'base64' }]],
        [alice, 400, 'body.secrets', undefined, []],
        [alice, 400, 'body.secrets', undefined, names(101).map((name) => ({ name, value: 'v' }))],
      ];
      for (const [who, status, path, rule, secrets] of cases) {
        const answer = await who.post(batch('whole', 'Write'), { secrets });
        expect([answer.status, answer.body.errors]).toEqual([status, [expect.objectContaining({ path })]]);
        const [record, ...others] = await recordsOf(system, answer);
        expect(others).toEqual([]);
        expect(record).toMatchObject({ action: 'secret.write', decision: 'deny', ...(rule ? { rule } : {}) });
        const [, index] = /^body\.secrets\.(\d)$/.exec(path) ?? [];
        if (index !== undefined) {
          const { name } = secrets[Number(index)] as Item;
          expect([answer.body.detail, record!.resource]).toEqual([
            expect.stringMatching(`^${name}: `),
            expect.objectContaining({ vault: 'whole', name }),
          ]);
        }
      }
      expect(await contents(system)).toEqual(before);
    });

    test('at the same time as others never mixes with them, and none is lost', async () => {
      await alice.createVault('mixed');
      const write = (value: string, order: string[]) =>
        alice
          .post(batch('mixed', 'Write'), { secrets: order.map((name) => ({ name, value, maxVersions: 100 })) })
          .expect(200);
      const rounds = Array.from({ length: 12 }, (_, i) => i);
      await Promise.all(rounds.map((i) => write(String(i), i % 2 === 0 ? ['a', 'b', 'c'] : ['c', 'b', 'a'])));
      const valuesOf = (name: string) =>
        Promise.all(
          rounds.map(
            async (i) => (await alice.get(`${at('mixed', name)}?version=${i + 1}`).expect(200)).body.value as string,
          ),
        );
      const [a, b, c] = [await valuesOf('a'), await valuesOf('b'), await valuesOf('c')];
      expect(a.toSorted()).toEqual(rounds.map(String).toSorted());
      expect([b, c]).toEqual([a, a]);
    });
  });

  test('while kek-service or the audit log does not answer a batch answers 503, releases nothing and writes nothing', async () => {
    await alice.createVault('away');
    await alice.putSecret('away', 's', CANARY);
    const calls = [
      () => alice.post(batch('away', 'Read'), { names: ['s'] }),
      () => alice.post(batch('away', 'Write'), { secrets: names(3).map((name) => ({ name, value: 'w' })) }),
    ];
    const before = await contents(system);
    const expectAway = async () => {
      for (const call of calls) {
        const { status, text } = await call();
        expect([status, text.includes(CANARY)]).toEqual([503, false]);
      }
    };
    await system.stopService('kek');
    system.vault.deks.clear();
    await expectAway();
    await system.startService('kek');
    await alice.readSecret('away', 's');

    await system.stopService('audit');
    // From then on the log is known not to answer.
    await alice.get('/auth/me').expect(503);
    await expectAway();
    expect(await contents(system)).toEqual(before);
    await system.startService('audit');
    await untilAnswers(alice);
  });
});
