import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SECOND_MS } from '@cardea/contracts/durations';
import type { Entry, Person, Stranger } from '@cardea/testkit/person';
import { inEachProfile } from '@cardea/testkit/use-system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { grant, newApplication, newUser } from '../access/granting.ts';
import { expectEventually } from '../access/probes.ts';
import { expectRecords } from '../identity/identity.ts';
import { query } from '../secrets/ground.ts';

const verifier = fileURLToPath(new URL('../../services/audit-service/src/verifier.mjs', import.meta.url));

async function ask(by: Stranger, question: Record<string, string>, status = 200) {
  const answer = await by.get(`/audit/entries?${new URLSearchParams(question).toString()}`);
  expect([question, answer.status]).toEqual([question, status]);
  return answer;
}

/** Asks for the proof of a read. */
async function proveRead(by: Stranger, path: string) {
  const { headers } = await by.get(path).expect(200);
  const [, seq, leaf] = /^seq=(\d+) leaf=(.+)$/.exec(headers['cardea-receipt']!)!;
  return by.get(`/audit/proofs/receipt?${new URLSearchParams({ seq: seq!, leaf: leaf! }).toString()}`);
}

async function newestAs(by: Stranger): Promise<number> {
  return ((await ask(by, { limit: '1' })).body.items as Entry[])[0]!.seq;
}

inEachProfile((system, { admin, alice, bob, carla }) => {
  let requestId: string;
  let vaultId: string;

  beforeAll(async () => {
    await alice.createVault('payments');
    const put = await alice.put('/vaults/payments/secrets/db/password', { value: 'v' }).expect(201);
    requestId = put.headers['x-request-id']!;
    const [app, user] = [await newApplication(system, 'billing'), await newUser(system, 'billing')];
    for (const one of [app, user]) await one.get('/vaults').expect(200);
    await admin.post('/users', { username: 'idle', role: 'developer' }).expect(201);
    [{ id: vaultId }] = (await query<{ id: string }>(system, `select id from vault where name = 'payments'`)) as [
      { id: string },
    ];
  });

  async function answers(question: Record<string, string>, by: Stranger = carla): Promise<string[]> {
    const { body } = await ask(by, question);
    return (body.items as Entry[]).map(({ event }) => `${event.actor.type}:${event.actor.name} ${event.action}`);
  }

  describe('a question about the log', () => {
    test('finds an actor by its type and name or id, a vault by its name or id, a name, a request, an entry', async () => {
      const written = ['user:alice secret.write'];
      const inVault = ['user:alice secret.write', 'user:alice vault.create'];
      const [{ id }] = (await query<{ id: string }>(system, `select id from app_user where username = 'alice'`)) as [
        { id: string },
      ];
      for (const actor of ['alice', 'user:alice', id, `user:${id}`]) {
        expect(await answers({ actor, vault: 'payments', decision: 'allow' })).toEqual(inVault);
      }
      expect(await answers({ vault: vaultId, action: 'secret.write' })).toEqual(written);
      expect(await answers({ name: 'db/password' })).toEqual(written);
      expect(await answers({ requestId })).toEqual(written);
      const [entry] = (await ask(carla, { requestId })).body.items as Entry[];
      expect(await answers({ seq: String(entry!.seq) })).toEqual(written);
      expect(await answers({ fromSeq: String(entry!.seq), toSeq: String(entry!.seq + 1) })).toEqual(written);
      expect(await answers({ fromSeq: String(entry!.seq), order: 'oldest', limit: '1' })).toEqual(written);
      expect(await answers({ vault: 'payments', order: 'oldest' })).toEqual(inVault.toReversed());
    });

    test('never mixes a user with an application of the same name', async () => {
      const { body } = await ask(carla, { actor: 'billing' }, 400);
      expect(body.errors).toEqual([
        { path: 'query.actor', message: expect.stringContaining('user:billing or application:billing') },
      ]);
      expect(new Set(await answers({ actor: 'application:billing', action: 'vault.list' }))).toEqual(
        new Set(['application:billing vault.list']),
      );
      expect(new Set(await answers({ actor: 'user:billing', action: 'vault.list' }))).toEqual(
        new Set(['user:billing vault.list']),
      );
    });

    test.each([
      ['vault', 'paymnets'],
      ['actor', 'alcie'],
      ['actor', 'application:alice'],
      ['name', 'db/pasword'],
      ['key', 'db/password'],
      ['action', 'secret.raed'],
      ['suspicious', 'token_frged'],
      ['seq', '999999'],
      ['from', '2'],
      ['to', '2026-13-01'],
    ])('about %s %s, which never existed, is refused and not answered with nothing', async (name, value) => {
      const answer = await ask(carla, { [name]: value, limit: '1' }, 400);
      expect(answer.body).toMatchObject({ code: 'invalid_request', errors: [{ path: `query.${name}` }] });
      await expectRecords(system, answer, {
        action: 'audit.read',
        decision: 'deny',
        reason: 'invalid_request',
        actor: expect.objectContaining({ name: 'carla' }) as never,
      });
    });

    test('is answered with nothing if nothing happened', async () => {
      for (const question of [
        { actor: 'idle' },
        { vault: 'payments', action: 'secret.destroy' },
        { requestId: 'none' },
      ]) {
        expect(await answers(question)).toEqual([]);
      }
    });
  });

  test('an export of a year by its dates has the entries that a list by these dates has', async () => {
    const year = system.now().getUTCFullYear();
    const range = new URLSearchParams({ from: `${year}-01-01`, to: `${year + 1}-01-01` }).toString();
    const { body: tar } = await admin.get(`/audit/export?${range}`).responseType('blob').expect(200);
    const file = join(system.dataDir, 'year.tar');
    writeFileSync(file, tar as Buffer);
    const key =
      system.profile === 'mini' ? readFileSync(join(system.dataDir, 'audit', 'verifier-key'), 'utf8') : undefined;
    const [first] = (await ask(carla, { from: `${year}-01-01`, order: 'oldest', limit: '1' })).body.items as Entry[];

    expect(first!.seq).toBe(0);
    if (key)
      expect(execFileSync(process.execPath, [verifier, '--key', key, file], { encoding: 'utf8' })).toContain('OK');
    await admin.get(`/audit/export?from=${year + 2}-01-01`).expect(400);
    await admin.get('/audit/export?from=0').expect(400);
  });

  describe('the owner of a vault', () => {
    test('sees what happened in it, by name and by id, and reading it is recorded there', async () => {
      expect(await answers({ vault: vaultId, decision: 'allow' }, alice)).toContain('user:alice secret.write');
      const answer = await ask(alice, { vault: 'payments', action: 'secret.write' });
      expect(answer.body.items).toHaveLength(1);
      const resource = { vault: 'payments', vaultId };
      await expectRecords(system, answer, { action: 'audit.read', decision: 'allow', rule: 'grant:owner', resource });
      expect(await answers({ vault: 'payments', action: 'audit.read' }, alice)).toContain('user:alice audit.read');
    });

    test('sees nothing of other vaults, of an earlier vault with the name, or of the rest of the log', async () => {
      await bob.createVault('reused');
      await bob.delete('/vaults/reused').expect(204);
      await alice.createVault('reused');
      expect(await answers({ vault: 'reused', decision: 'allow' }, alice)).not.toContain('user:bob vault.create');
      expect(await answers({ vault: 'reused', decision: 'allow' })).toContain('user:bob vault.create');

      await ask(alice, {}, 403);
      await ask(alice, { actor: 'alice' }, 403);
      await ask(bob, { vault: 'payments' }, 404);
      await ask(bob, { vault: vaultId }, 404);
      await grant(alice, 'payments', 'user:bob', { secrets: ['read', 'manage'], keys: [] }).expect(201);
      await ask(bob, { vault: 'payments' }, 403);
      await bob.createVault('foreign');
      await bob.putSecret('foreign', 'of/bob', 'v');
      // What is in the rest of the log and what is nowhere get the same answer.
      for (const [there, nowhere] of [
        [{ name: 'of/bob' }, { name: 'of/nobody' }],
        [{ actor: 'idle' }, { actor: 'nobody' }],
        [{ actor: 'billing' }, { actor: 'nobody' }],
        [{ actor: 'carla' }, { actor: 'user:nobody' }],
        [{ key: 'of/bob' }, { key: 'of/nobody' }],
      ] as Record<string, string>[][]) {
        const both = [there, nowhere].map((question) =>
          new URLSearchParams({ vault: 'reused', ...question }).toString(),
        );
        const [first, second] = await Promise.all(
          both.map(async (question) => {
            const { status, body } = await alice.get(`/audit/entries?${question}`);
            return [status, body.items, body.errors];
          }),
        );
        expect([there, first]).toEqual([there, second]);
      }
      expect(await answers({ vault: 'reused', actor: 'carla' }, alice)).toEqual([]);
      const { body } = await ask(alice, { vault: 'payments', vaultId }, 400);
      expect(body.errors).toEqual([{ path: 'query', message: expect.any(String) }]);
    });
  });

  test('a right that is taken away while the log looks for the answer shows nothing', async () => {
    // On SQLite, nothing else holds the log up while it reads.
    if (system.profile === 'mini') return;
    await alice.createVault('lent');
    await grant(alice, 'lent', 'user:bob', { owner: true }).expect(201);
    const [audit, holder] = [system.openDatabase('audit'), system.openDatabase('audit')];
    const state = () =>
      audit.query<{ waits: number; lag: number }>(`
        select (select count(*)
                  from pg_stat_activity
                 where query like '%with recursive search%'
                   and wait_event_type = 'Lock'
                   and datname = current_database()) as waits,
               (select size from audit_head) - (select size from audit_indexed) as lag`);
    // The question must not wait for the index, before it looks for the time.
    await expectEventually(async () => expect(await state()).toEqual([{ waits: 0, lag: 0 }]));
    const answers = await holder.lockingTransaction({}, async (tx) => {
      await tx.query('lock table audit_entry in access exclusive mode');
      const asked = ask(bob, { vault: 'lent', from: '2026-01-01' }, 404);
      await expectEventually(async () => expect(await state()).toEqual([{ waits: 1, lag: 0 }]));
      // Sent now, and answered once the log takes the record.
      const taken = Promise.resolve(alice.delete('/vaults/lent/grants/user:bob').expect(204));
      const left = `select principal from vault_grant join vault on id = vault_id where name = 'lent'`;
      await expectEventually(async () => expect(await query(system, left)).toHaveLength(1));
      return [asked, taken];
    });
    await Promise.all(answers);
    await Promise.all([audit.close(), holder.close()]);
  });

  test('callers who ask much keep no record of others waiting, and are told to wait', async () => {
    // On SQLite, nothing holds up what only reads.
    if (system.profile === 'mini') return;
    await alice.createVault('curious');
    await bob.createVault('busy');
    await bob.putSecret('busy', 's', 'v');
    const holder = system.openDatabase('audit');
    const statuses: number[] = [];
    const waiting = await holder.lockingTransaction({}, async (tx) => {
      // Questions and signatures need the index. Appends do not.
      await tx.query('lock table audit_term in access exclusive mode');
      const question = '/audit/entries?vault=curious&action=vault.create';
      const many = Array.from({ length: 48 }, (_, n) => (n % 4 === 0 ? carla : alice));
      const asked = many.flatMap((by) => [proveRead(by, '/vaults/curious'), by.get(question)]);
      const sent = asked.map(async (answer) => void statuses.push((await answer).status));
      await expectEventually(async () => expect(statuses).toContain(429));
      await bob.get('/vaults/busy/secrets/s').expect(200);
      return sent;
    });
    await Promise.all([...waiting, holder.close()]);
    expect(statuses).toHaveLength(96);
  });

  describe('who follows the log', () => {
    test('waits for the next entry, and is not woken by those who read the log', async () => {
      const after = String(await newestAs(carla));
      let isDone = false;
      const following = ask(carla, { after, waitSeconds: '30' }).finally(() => (isDone = true));
      for (let i = 0; i < 3; i += 1) await newestAs(carla);
      expect(isDone).toBe(false);
      await alice.putSecret('payments', 'followed', 'v');
      const { body } = await following;
      const items = body.items as Entry[];
      expect(items.map(({ event }) => event.action)).toContain('secret.write');
      expect(items.map(({ seq }) => seq)).toEqual(items.map((_, i) => Number(after) + 1 + i));
      expect(body.nextAfter).toBe(items.at(-1)!.seq);
    });

    test('sees at once that somebody was refused to read the log', async () => {
      const question = { action: 'audit.read', decision: 'deny', after: String(await newestAs(carla)) };
      const began = performance.now();
      const following = ask(carla, { ...question, waitSeconds: '30' });
      await ask(bob, {}, 403);
      const { body } = await following;
      // Before the end of the wait, which shows it too.
      expect((performance.now() - began) / SECOND_MS).toBeLessThan(30);
      expect((body.items as Entry[]).map(({ event }) => event.actor.name)).toEqual(['bob']);
    });

    test('gets nothing, and where to go on, at the end of the wait', async () => {
      const after = await newestAs(carla);
      const { body } = await ask(alice, {
        vault: 'payments',
        action: 'secret.destroy',
        after: String(after),
        waitSeconds: '1',
      });
      expect(body).toEqual({ items: [], nextAfter: expect.any(Number) });
      expect(body.nextAfter).toBeGreaterThan(after);
    });

    test('gets nothing if the right is gone at the end of the wait', async () => {
      const dora = await newUser(system, 'dora');
      await dora.createVault('doras');
      await grant(dora, 'doras', 'user:bob', { owner: true }).expect(201);
      const after = String(await newestAs(carla));
      const question = new URLSearchParams({ vault: 'doras', after, waitSeconds: '30' }).toString();
      const asked = Array.from({ length: 5 }, async () => (await dora.get(`/audit/entries?${question}`)).status);
      // The one that has no place is answered at once, and the four others wait then.
      expect(await Promise.race(asked)).toBe(429);
      await bob.delete('/vaults/doras/grants/user:dora').expect(204);
      expect((await Promise.all(asked)).toSorted((x, y) => x - y)).toEqual([404, 404, 404, 404, 429]);
    });

    test('waits a few times at once, as often as everybody may', async () => {
      const question = { name: 'ends/waits', action: 'secret.write', waitSeconds: '30' };
      await alice.putSecret('payments', 'ends/waits', 'v');
      const after = String(await newestAs(carla));
      const statuses: number[] = [];
      const path = `/audit/entries?${new URLSearchParams({ ...question, after }).toString()}`;
      const all = Array.from({ length: 6 }, async () => statuses.push((await carla.get(path)).status));
      // The two that have no place are answered at once, and the four others wait until what they ask for happens.
      await expectEventually(async () => expect(statuses).toEqual([429, 429]));
      await alice.putSecret('payments', 'ends/waits', 'w');
      await Promise.all(all);
      expect(statuses).toEqual([429, 429, 200, 200, 200, 200]);
    });

    test('is told to ask again when the service stops, which does not wait for the end of the waits', async () => {
      await alice.createVault('stops');
      await grant(alice, 'stops', 'user:bob', { owner: true }).expect(201);
      const after = String(await newestAs(carla));
      const question = { action: 'secret.destroy', after, waitSeconds: '30' };
      const askedByAll = [askFiveTimes(carla, question), askFiveTimes(bob, { ...question, vault: 'stops' })] as const;
      for (const asked of askedByAll) expect(await Promise.race(asked)).toBe(429);
      // The four others of each wait now. After its time, a stop would break off their connections.
      await alice.delete('/vaults/stops/grants/user:bob').expect(204);
      await system.stopService('api');
      const [ofCarla, ofBob] = await Promise.all(askedByAll.map((asked) => Promise.all(asked)));
      expect(ofCarla!.toSorted((x, y) => x - y)).toEqual([429, 503, 503, 503, 503]);
      // Whoever has lost the right hears that, and nothing else.
      expect(ofBob!.toSorted((x, y) => x - y)).toEqual([404, 404, 404, 404, 429]);
      await system.startService('api');
    });
  });
});

/** The statuses of five questions that are asked at once. */
function askFiveTimes(by: Person, question: Record<string, string>): Promise<number>[] {
  const path = `/audit/entries?${new URLSearchParams(question).toString()}`;
  return Array.from({ length: 5 }, async () => (await by.get(path)).status);
}
