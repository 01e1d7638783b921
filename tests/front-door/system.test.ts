import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inEachProfile } from '@cardea/testkit/use-system';
import { Person } from '@cardea/testkit/person';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { expect, test } from '@jest/globals';

const run = promisify(execFile);
const verifier = fileURLToPath(new URL('../../services/audit-service/src/verifier.mjs', import.meta.url));

inEachProfile((system, { admin }) => {
  test('a secret is written and read, and the audit log has both', async () => {
    await admin.createVault('payments');
    const put = await admin.put('/vaults/payments/secrets/db/password', { value: 'hunter2' }).expect(201);
    expect(put.body).toMatchObject({ name: 'db/password', version: 1, changed: true });

    const got = await admin.get('/vaults/payments/secrets/db/password').expect(200);
    expect(got.body).toMatchObject({ name: 'db/password', version: 1, value: 'hunter2', encoding: 'utf8' });

    const entries = await admin.auditEntries({ vault: 'payments' });
    expect(entries.map(({ event }) => [event.action, event.decision, event.resource?.name, event.rule])).toEqual([
      ['secret.read', 'allow', 'db/password', 'role:admin'],
      ['secret.write', 'allow', 'db/password', 'role:admin'],
      ['vault.create', 'allow', undefined, 'role:admin'],
    ]);
    const [read, write] = entries;
    expect(write!.event.ciphertextSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(read!.event.requestId).toBe(got.headers['x-request-id']);
    expect(got.headers['cardea-receipt']).toMatch(new RegExp(`^seq=${read!.seq} leaf=[A-Za-z0-9+/]{43}=$`));
  });

  test('the identical value makes no version, another one does, and every version can be read', async () => {
    await admin.createVault('versions');
    const path = '/vaults/versions/secrets/token';
    await admin.put(path, { value: 'one' }).expect(201);
    const same = await admin.put(path, { value: 'one' }).expect(200);
    expect(same.body).toMatchObject({ version: 1, changed: false });
    const other = await admin.put(path, { value: 'two' }).expect(200);
    expect(other.body).toMatchObject({ version: 2, changed: true });
    expect((await admin.get(`${path}?version=1`)).body.value).toBe('one');
    expect((await admin.get(path)).body.value).toBe('two');
    await admin.get(`${path}?version=3`).expect(404);
  });

  test('concurrent writers each get a version, and none is lost', async () => {
    await admin.post('/vaults', { name: 'race', maxVersions: 16 }).expect(201);
    const answers = await Promise.all(
      Array.from({ length: 16 }, (_, i) => admin.put('/vaults/race/secrets/s', { value: `value ${i}` })),
    );
    const versions = answers.map((answer) => answer.body.version as number).sort((a, b) => a - b);
    expect(versions).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
    for (const [i, answer] of answers.entries()) {
      const got = await admin.get(`/vaults/race/secrets/s?version=${answer.body.version}`);
      expect(got.body.value).toBe(`value ${i}`);
    }
  });

  test('bytes of every length up to 8192 are read back unchanged', async () => {
    await admin.createVault('bytes');
    for (const length of [0, 1, 15, 16, 17, 255, 4_096, 8_192]) {
      const value = Buffer.from(Array.from({ length }, (_, i) => (i * 31) % 256)).toString('base64');
      await admin.put(`/vaults/bytes/secrets/b${length}`, { value, encoding: 'base64' }).expect(201);
      const got = await admin.get(`/vaults/bytes/secrets/b${length}`).expect(200);
      expect(got.body).toMatchObject({ value, encoding: 'base64' });
    }
  });

  test('a list pages by name, in byte order, and shows no value', async () => {
    await admin.createVault('lists');
    for (const name of ['b', 'a/z', 'B', 'a-1', 'a']) await admin.putSecret('lists', name, 'v');
    const first = await admin.get('/vaults/lists/secrets?limit=3').expect(200);
    expect(first.body.items.map((item: { name: string }) => item.name)).toEqual(['B', 'a', 'a-1']);
    const second = await admin.get(`/vaults/lists/secrets?limit=3&cursor=${first.body.nextCursor}`).expect(200);
    expect(second.body.items.map((item: { name: string }) => item.name)).toEqual(['a/z', 'b']);
    expect(second.body.nextCursor).toBeUndefined();
    const prefixed = await admin.get('/vaults/lists/secrets?prefix=a/').expect(200);
    expect(prefixed.body.items.map((item: { name: string }) => item.name)).toEqual(['a/z']);
    expect(JSON.stringify(first.body)).not.toContain('value');
  });

  test.each(['a\u0000b', '\ud800'])(
    'text that some store could not keep is refused, signed in or not: %j',
    async (text) => {
      const login = await system.stranger.post('/auth/login', { username: text, password: 'x' }).expect(400);
      expect(login.body.code).toBe('invalid_request');
      await admin.post('/vaults', { name: 'odd-text', description: text }).expect(400);
      await admin.get('/vaults/odd-text').expect(404);
    },
  );

  test('a vault of another user does not exist for reading, writing and listing, and each attempt is recorded as denied', async () => {
    const alice = await system.as('alice');
    const bob = await system.as('bob');
    await alice.createVault('alices');
    await alice.putSecret('alices', 's', 'mine');
    await bob.get('/vaults/alices/secrets/s').expect(404);
    await bob.put('/vaults/alices/secrets/s', { value: 'x' }).expect(404);
    await bob.get('/vaults/alices/secrets').expect(404);
    await bob.get('/vaults/alices').expect(404);
    const listed = await bob.get('/vaults').expect(200);
    expect(listed.body.items).toEqual([]);

    const entries = await admin.auditEntries({ vault: 'alices', decision: 'deny' });
    expect(entries.map(({ event }) => [event.action, event.actor.name, event.reason, event.rule])).toEqual([
      ['vault.read', 'bob', 'not_found', 'default-deny'],
      ['secret.list', 'bob', 'not_found', 'default-deny'],
      ['secret.write', 'bob', 'not_found', 'default-deny'],
      ['secret.read', 'bob', 'not_found', 'default-deny'],
    ]);
    expect(await alice.readSecret('alices', 's')).toBe('mine');
  });

  test('the ceo sees that a secret exists, and neither reads nor writes it', async () => {
    const alice = await system.as('alice');
    const carla = await system.as('carla');
    await alice.createVault('overseen');
    await alice.putSecret('overseen', 's', 'mine');
    expect((await carla.get('/vaults/overseen/secrets').expect(200)).body.items).toHaveLength(1);
    await carla.get('/vaults/overseen/secrets/s').expect(403);
    await carla.put('/vaults/overseen/secrets/s', { value: 'x' }).expect(403);
    await carla.post('/vaults', { name: 'carlas' }).expect(403);
    await carla.get('/audit/entries').expect(200);
    await alice.get('/audit/entries').expect(403);
  });

  test('a token stops working at the next request after signing out', async () => {
    const person = await (
      await import('@cardea/testkit/person')
    ).Person.signIn(system.url, 'alice', 'correct horse battery staple');
    await person.get('/auth/me').expect(200);
    await person.post('/auth/logout').expect(204);
    const refused = await person.get('/auth/me').expect(401);
    expect(refused.body).toMatchObject({ code: 'unauthenticated', status: 401 });
    const [entry] = await admin.auditEntries({ decision: 'deny' });
    expect(entry!.event).toMatchObject({ action: 'auth.me', rule: 'session-ended' });
  });

  test('values and records survive a restart, and the whole log verifies offline', async () => {
    await admin.createVault('durable');
    await admin.putSecret('durable', 's', 'survives');
    const before = await admin.auditEntries();
    await system.restart();
    await system.as('admin');
    expect(await admin.readSecret('durable', 's')).toBe('survives');
    const after = await admin.auditEntries();
    expect(after.slice(-before.length).map((entry) => entry.seq)).toEqual(before.map((entry) => entry.seq));

    const exported = await admin
      .get('/audit/export')
      .buffer(true)
      .parse((res, done) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('end', () => done(null, Buffer.concat(chunks)));
      })
      .expect(200);
    const file = join(system.dataDir, 'export.tar');
    await writeFile(file, exported.body as Buffer);
    const key = (await readFile(join(system.dataDir, 'audit', 'verifier-key'), 'utf8')).trim();
    const { stdout } = await run(process.execPath, [verifier, '--key', key, file]);
    expect(stdout).toMatch(/ok/i);
  });

  test('an expired token is refused', async () => {
    const person = await Person.signIn(system.url, 'bob', 'correct horse battery staple');
    await person.get('/auth/me').expect(200);
    system.passTime(16 * MINUTE_MS);
    await person.get('/auth/me').expect(401);
  });
});
