import { inEachProfile } from '@cardea/testkit/use-system';
import type { Person } from '@cardea/testkit/person';
import { beforeAll, expect, test } from '@jest/globals';
import { grant, newApplication } from '../access/granting.ts';
import { query, untilAnswers } from './ground.ts';

const VALUE = 'canary-3d1f2a';
const REASON = 'audit 2026/11: is “db” rotated? – ja';
const SECRET = '/vaults/payments/secrets/db/password';

inEachProfile((system, { admin, alice, carla }) => {
  beforeAll(async () => {
    await alice.createVault('payments');
    await alice.put(SECRET, { value: VALUE, metadata: { team: 'core' } }).expect(201);
    await grant(alice, 'payments', 'user:bob', { secrets: ['list', 'read'], pathPrefix: 'db' }).expect(201);
  });

  /** What the database and the log have about it: uses, events, records. */
  async function noted(): Promise<{ uses: unknown[]; events: unknown[]; records: unknown[] }> {
    const db = system.openDatabase();
    try {
      const uses = await db.query(`select version, reason, by_user from break_glass order by id`);
      const events = await db.query(`select kind, payload from event order by id`);
      const entries = await admin.auditEntries({ action: 'secret.breakGlass', decision: 'allow' });
      return { uses, events, records: entries.map(({ event }) => event) };
    } finally {
      await db.close();
    }
  }

  async function counted(): Promise<number> {
    const metrics = await (await fetch(`${system.opsUrl}/metrics`)).text();
    return Number(/^cardea_break_glass_reads_total\{.*\} (\d+)$/m.exec(metrics)![1]);
  }

  test('oversight reads a value only with a reason', async () => {
    await carla.get(SECRET).expect(403);
    await carla.get(`${SECRET}?reason=${'r'.repeat(20)}`).expect(400);
    await carla.get(`${SECRET}:breakGlass`).expect(405);
    for (const body of [
      {},
      { reason: null },
      { reason: 1234567890 },
      { reason: ['a good reason'] },
      { reason: '' },
      { reason: '123456789' },
      { reason: ' '.repeat(10) },
      { reason: ` 12345678${' '.repeat(8)}` },
      { reason: '\u200b'.repeat(10) },
      { reason: 'a good reason\nand a second line' },
      { reason: 'a good reason\u0000' },
      { reason: 'a good reason \ud800' },
      ...['\u2028', '\u2029', '\u202e', '\u2066', '\u200f', '\u061c', '\u0085'].map((hidden) => ({
        reason: `a good reason ${hidden} and more`,
      })),
      { reason: 'r'.repeat(513) },
      { reason: 'a good reason', version: 1 },
      { reason: 'a good reason', resolve: true },
    ]) {
      const answer = await carla.post(`${SECRET}:breakGlass`, body);
      expect([body, answer.status]).toEqual([body, 400]);
      expect(answer.text).not.toContain(VALUE);
    }
    await carla.post(`${SECRET}:breakGlass?version=1`, { reason: REASON }).expect(400);
    expect(await noted()).toEqual({ uses: [], events: [], records: [] });
    expect(await counted()).toBe(0);
  });

  test('nobody else breaks glass: a caller who may see the secret is told to read it, others that it does not exist', async () => {
    const agent = await newApplication(system, 'agent');
    await grant(alice, 'payments', 'application:agent', { secrets: ['read'] }).expect(201);
    const outsider = await newApplication(system, 'outsider');
    const bob = await system.as('bob');
    const ask = (person: Person, path: string) => person.post(`${path}:breakGlass`, { reason: REASON });
    for (const person of [admin, alice, bob, agent]) {
      const { status, body } = await ask(person, SECRET);
      expect([status, body.detail]).toEqual([403, 'break-glass is for oversight: read the secret the normal way']);
    }
    for (const answer of [
      await ask(outsider, SECRET),
      await ask(bob, '/vaults/payments/secrets/other'),
      await ask(bob, '/vaults/nowhere/secrets/db/password'),
    ]) {
      expect([answer.status, answer.body.detail]).toEqual([404, 'no such vault or name, or you may not see it']);
    }
    expect((await system.stranger.post(`${SECRET}:breakGlass`, { reason: REASON })).status).toBe(401);
    expect(await noted()).toEqual({ uses: [], events: [], records: [] });
    const denied = await admin.auditEntries({ action: 'secret.breakGlass', decision: 'deny' });
    expect(denied.filter(({ event }) => event.reason === 'access_denied')).toHaveLength(4);
  });

  test('a read by oversight is recorded word for word, announced to the owners and shown beside the version', async () => {
    const answer = await carla.post(`${SECRET}:breakGlass`, { reason: REASON }).expect(200);
    expect(answer.body).toEqual({
      name: 'db/password',
      version: 1,
      value: VALUE,
      encoding: 'utf8',
      metadata: { team: 'core' },
      createdAt: expect.any(String),
    });

    const [entry] = await admin.auditEntries({ action: 'secret.breakGlass', decision: 'allow' });
    expect(answer.headers['cardea-receipt']).toMatch(`seq=${entry!.seq} `);
    const { id: vaultId } = (await alice.get('/vaults/payments').expect(200)).body;
    const { id } = (await carla.get('/auth/me').expect(200)).body;
    expect(entry!.event).toEqual({
      id: expect.any(String),
      ts: expect.any(String),
      action: 'secret.breakGlass',
      decision: 'allow',
      reason: REASON,
      rule: 'break-glass',
      actor: { id, type: 'user', name: 'carla', session: expect.any(String) },
      source: expect.any(Object),
      requestId: answer.headers['x-request-id'],
      resource: { vault: 'payments', vaultId, name: 'db/password', version: 1 },
      dekVersion: 1,
    });

    const events = await alice.get('/vaults/payments/events').expect(200);
    expect(events.body.items).toEqual([
      {
        id: expect.any(String),
        kind: 'secret.breakGlass',
        payload: { name: 'db/password', version: 1, reason: REASON, by: { id, name: 'carla' } },
        createdAt: expect.any(String),
      },
    ]);
    expect(events.text).not.toContain(VALUE);
    await (await system.as('bob')).get('/vaults/payments/events').expect(403);

    const versions = await alice.get(`${SECRET}:versions`).expect(200);
    const by = { type: 'user', id, name: 'carla' };
    const breakGlass = [{ at: events.body.items[0].createdAt, by, reason: REASON }];
    expect(versions.body.items).toMatchObject([{ version: 1, lastReadBy: by, breakGlass }]);
    expect(await counted()).toBe(1);
  });

  test('each use is separate', async () => {
    const before = await noted();
    const asked = ['the first of two reasons', 'the second of two reasons'];
    await Promise.all(asked.map((reason) => carla.post(`${SECRET}:breakGlass`, { reason }).expect(200)));
    const { uses, events, records } = await noted();
    expect([uses, events, records].map((list) => list.length - before.uses.length)).toEqual([2, 2, 2]);
  });

  test('a reference is shown itself: its target needs its own reason', async () => {
    await alice.createVault('elsewhere');
    await alice.putSecret('elsewhere', 'target', VALUE);
    const value = JSON.stringify({ $ref: { vault: 'elsewhere', name: 'target' } });
    const contentType = 'application/vnd.cardea.reference+json';
    await alice.put('/vaults/payments/secrets/pointer', { value, contentType }).expect(201);
    const path = '/vaults/payments/secrets/pointer:breakGlass';
    expect((await carla.post(path, { reason: REASON }).expect(200)).body).toMatchObject({ value, contentType });
  });

  test('oversight cannot read what nobody can read', async () => {
    const before = await noted();
    const path = '/vaults/payments/secrets/ended';
    await alice.put(path, { value: VALUE, ttlSeconds: 5 }).expect(201);
    system.passTime(5_000);
    await carla.post(`${path}:breakGlass`, { reason: REASON }).expect(410);
    await alice.put(path, { value: `${VALUE}2` }).expect(200);
    await alice.delete(path).expect(204);
    await carla.post(`${path}:breakGlass`, { reason: REASON }).expect(404);
    await carla.post('/vaults/payments/secrets/nothing:breakGlass', { reason: REASON }).expect(404);
    await carla.post('/vaults/nothing/secrets/db/password:breakGlass', { reason: REASON }).expect(404);
    const after = await noted();
    expect([after.uses, after.records]).toEqual([before.uses, before.records]);
  });

  test('a row of another secret does not open by break-glass', async () => {
    await alice.putSecret('payments', 'twin', 'of another');
    await query(
      system,
      `update secret_version
          set ciphertext = (select v.ciphertext from secret_version v join secret s on s.id = v.secret_id where s.name = 'target')
        where secret_id = (select id from secret where name = 'twin')`,
    );
    const answer = await carla.post('/vaults/payments/secrets/twin:breakGlass', { reason: REASON });
    expect([answer.status, answer.text.includes(VALUE)]).toEqual([500, false]);
    const [entry] = await admin.auditEntries({ action: 'secret.breakGlass', decision: 'deny' });
    expect(entry!.event.suspicious).toBe('integrity_failure');
  });

  test('if no DEK can be unwrapped, nothing is released and nothing announced', async () => {
    const before = await noted();
    await system.stopService('kek');
    system.vault.deks.clear();
    const answer = await carla.post(`${SECRET}:breakGlass`, { reason: REASON });
    await system.startService('kek');
    expect([answer.status, answer.text.includes(VALUE)]).toEqual([503, false]);
    expect(await noted()).toEqual(before);
  });

  test('while the audit log does not answer nothing is released; the request is kept and recorded later', async () => {
    // The DEK must be in the cache: kek-service unwraps nothing while the log does not answer.
    await alice.get(SECRET).expect(200);
    const before = await noted();
    await system.stopService('audit');
    const reason = 'while nobody looks';
    const answer = await carla.post(`${SECRET}:breakGlass`, { reason });
    expect([answer.status, answer.text.includes(VALUE)]).toEqual([503, false]);
    // The log is known not to answer by now, so nothing more is written.
    const second = await carla.post(`${SECRET}:breakGlass`, { reason });
    expect([second.status, second.text.includes(VALUE)]).toEqual([503, false]);

    await system.startService('audit');
    await untilAnswers(admin);
    system.passTime(11_000);
    await system.runJob('outbox.relay', {});
    const after = await noted();
    const added = (what: keyof typeof before) => after[what].length - before[what].length;
    expect([added('uses'), added('events'), added('records')]).toEqual([1, 1, 1]);
    expect(after.records[0]).toMatchObject({ reason, rule: 'break-glass', actor: { name: 'carla' } });
  });
});
