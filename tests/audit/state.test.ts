import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DAY_MS, HOUR_MS } from '@cardea/contracts/durations';
import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';
import { grant, newApplication, newUser } from '../access/granting.ts';
import { expectRecords } from '../identity/identity.ts';
import { untilAnswers } from '../secrets/ground.ts';

const verifier = fileURLToPath(new URL('../../services/audit-service/src/verifier.mjs', import.meta.url));

inEachProfile((system, { admin, alice, bob, carla }) => {
  const inLog = (ms: number) => new Date(system.now().getTime() + ms).toISOString();

  /** Compares the database with the log, as an auditor does. `meanwhile` happens between the two exports. */
  async function compare(meanwhile: () => Promise<unknown> = async () => undefined) {
    const { text } = await carla.get('/audit/state').expect(200);
    await meanwhile();
    const { body: log } = await carla.get('/audit/export').responseType('blob').expect(200);
    return verifyFiles(text, log as Buffer);
  }

  function verifyFiles(state: string, log: Buffer): { code: number | null; out: string; err: string } {
    const [stateFile, tar] = [join(system.dataDir, 'state.jsonl'), join(system.dataDir, 'state.tar')];
    writeFileSync(stateFile, state);
    writeFileSync(tar, log);
    const key = readFileSync(join(system.dataDir, 'audit', 'verifier-key'), 'utf8');
    const args = [verifier, '--key', key, tar, '--state', stateFile];
    const { status: code, stdout: out, stderr: err } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    return { code, out, err };
  }

  async function tamper(sql: string, undo: string, meanwhile?: () => Promise<unknown>) {
    const db = system.openDatabase();
    await db.query(sql);
    const found = await compare(meanwhile);
    await db.query(undo);
    await db.close();
    return found;
  }

  test('the database is as the log says, whatever was done', async () => {
    await newUser(system, 'dave');
    await newUser(system, 'erin');
    await admin.patch('/users/erin', { expiresAt: inLog(HOUR_MS) }).expect(200);
    await admin.post('/users/erin:resetPassword').expect(200);
    await newApplication(system, 'ci');
    await admin.patch('/applications/ci', { allowedCidrs: ['127.0.0.0/8'], description: 'Builds' }).expect(200);
    const dave = await newUser(system, 'frank');
    await dave.post('/vaults', { name: 'inherited' }).expect(201);
    await admin.delete('/users/frank?successor=dave').expect(204);
    await alice.post('/vaults', { name: 'brief' }).expect(201);
    await grant(alice, 'brief', 'user:dave', { secrets: ['list'], keys: [] }).expect(201);
    await alice.putSecret('brief', 'gone', 'v');
    await alice.delete('/vaults/brief?recursive=true').expect(204);

    await alice.post('/vaults', { name: 'payments', description: 'Cards', maxVersions: 2 }).expect(201);
    await alice.patch('/vaults/payments', { publicJwks: true, description: '' }).expect(200);
    await grant(alice, 'payments', 'user:dave', { secrets: ['read'], pathPrefix: 'db' }).expect(201);
    await grant(alice, 'payments', 'user:dave', { secrets: ['read'], expiresAt: inLog(HOUR_MS) }).expect(200);
    await grant(alice, 'payments', 'application:ci', { keys: ['sign'] }).expect(201);
    await grant(alice, 'payments', 'user:erin', { secrets: ['list'] }).expect(201);
    await alice.delete('/vaults/payments/grants/user:erin').expect(204);

    const path = '/vaults/payments/secrets';
    const metadata = { 'für wen?': 'dba', team: 'x'.repeat(512) };
    for (const name of ['db/password', 'db/old', 'apps/one', 'apps/two', 'trashed', 'purged', 'short']) {
      await alice.put(`${path}/${name}`, { value: '1', metadata }).expect(201);
    }
    for (const value of ['2', '3', '3']) await alice.put(`${path}/db/password`, { value }).expect(200);
    await alice.patch(`${path}/db/password`, { metadata: { team: null }, maxVersions: 3 }).expect(200);
    await alice.patch(`${path}/db/password`, { expiresAt: inLog(HOUR_MS) }).expect(200);
    await alice.patch(`${path}/short`, { version: 1, expiresAt: inLog(2 * HOUR_MS) }).expect(200);
    await alice.post(`${path}/db/password:rollback`, { version: 2 }).expect(200);
    await alice.post(`${path}/apps/one:destroy`, { versions: [1] }).expect(200);
    await alice.delete(`${path}/trashed`).expect(204);
    await alice.delete(`${path}/db/old`).expect(204);
    await alice.post(`${path}/db/old:restore`).expect(200);
    await alice.delete(`${path}/apps/two`).expect(204);
    await alice.put(`${path}/apps/two`, { value: '2', metadata: { again: 'yes' } }).expect(201);
    await alice.post(`${path}/purged:purge`).expect(204);
    await alice.post(`${path}:move`, { prefix: 'apps', toPrefix: 'moved' }).expect(200);
    await alice.post(`${path}/short:move`, { name: 'renamed' }).expect(200);
    await alice.post(`${path}:import`, { format: 'dotenv', content: 'A=1\nB=2\n', prefix: 'env' }).expect(200);

    const keys = '/vaults/payments/keys';
    const hkdf = { algorithm: 'aes-256-gcm', derivation: 'hkdf-sha256', exportable: true, deletionProtection: true };
    await alice.post(keys, { name: 'cards', rotationPeriodSeconds: 20 * (DAY_MS / 1000), ...hkdf }).expect(201);
    for (const name of ['restored', 'gone', 'signing']) {
      await alice.post(keys, { name, algorithm: 'ed25519' }).expect(201);
    }
    const pair = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' });
    for (const status of [201, 200]) {
      await alice.post(`${keys}/theirs:import`, { algorithm: 'ed25519', publicKeyPem: pair }).expect(status);
    }
    for (let i = 0; i < 3; i += 1) await alice.post(`${keys}/signing:rotate`).expect(200);
    await alice.patch(`${keys}/signing`, { minEncryptVersion: 3, minDecryptVersion: 2 }).expect(200);
    for (const [version, state] of [
      [1, 'disabled'],
      [1, 'destroyed'],
      [2, 'disabled'],
      [3, 'disabled'],
      [3, 'enabled'],
    ] as const) {
      await alice.patch(`${keys}/signing/versions/${version}`, { state }).expect(200);
    }
    for (const name of ['restored', 'gone']) await alice.delete(`${keys}/${name}`).expect(202);
    await alice.post(`${keys}/restored:restore`).expect(200);

    // Everything with an expiry is expired, and the trash is purged.
    system.passTime(31 * DAY_MS);
    for (const job of ['user.sweep', 'grant.sweep', 'secret.sweep', 'vault.sweep', 'key.sweep'] as const) {
      await system.runJob(job, {});
    }
    for (const name of ['admin', 'alice', 'bob', 'carla'] as const) await system.as(name);
    await alice.put(`${path}/trashed`, { value: '2', metadata: { again: 'yes' } }).expect(201);
    await alice.post(keys, { name: 'gone', algorithm: 'aes-128-gcm' }).expect(201);
    await alice.put(`${path}/many`, { value: '1', metadata: labels('a') }).expect(201);
    await alice.put(`${path}/many`, { value: '2', metadata: labels('b') }).expect(200);
    const { code, out, err } = await compare();
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^state {8}\d+ objects of the database are as the log says$/m);
  });

  test('a change between the two exports is no difference', async () => {
    await alice.createVault('busy');
    const { code, err } = await compare(async () => {
      await alice.putSecret('busy', 's', '1');
      await grant(alice, 'busy', 'user:bob', { secrets: ['read'] }).expect(201);
      await admin.patch('/users/bob', { expiresAt: inLog(HOUR_MS) }).expect(200);
      await admin.patch('/users/bob', { expiresAt: null }).expect(200);
      await alice.createVault('later');
    });
    expect({ code, err }).toEqual({ code: 0, err: '' });
  });

  test('a record that was sent after those of later changes is no difference', async () => {
    const path = '/vaults/patient/secrets/awaited';
    await alice.createVault('patient');
    await newUser(system, 'heidi');
    await alice.put(path, { value: '1', metadata: { team: 'a' } }).expect(201);
    await withoutLog(() => alice.delete(path).expect(503));
    await alice.put(path, { value: '2', metadata: { again: 'yes' } }).expect(201);
    await withoutLog(() => grant(alice, 'patient', 'user:heidi', { secrets: ['read'] }).expect(503));
    await admin.delete('/users/heidi').expect(204);

    const waiting = await compare();
    expect(waiting).toMatchObject({ code: 18, out: expect.stringContaining('records wait to be sent to the log') });
    const { code, err } = await tamper(
      `update secret set metadata = '{"team":"a"}' where name = 'awaited'`,
      `update secret set metadata = '{"again":"yes"}' where name = 'awaited'`,
      sendLate,
    );
    expect({ code, err }).toEqual({
      code: 18,
      err: expect.stringContaining('metadata.team is "a", and by the log not'),
    });
    const entries = await admin.auditEntries({ vault: 'patient' });
    const order = entries.toSorted((a, b) => a.seq - b.seq).map(({ event }) => event.action);
    expect(order.slice(-2).toSorted()).toEqual(['grant.write', 'secret.delete']);
    expect(await compare()).toMatchObject({ code: 0, err: '' });
  });

  /** A change that is made while the log is away: its record waits. */
  async function withoutLog(change: () => Promise<unknown>) {
    await system.stopService('audit');
    await change();
    await system.startService('audit');
    await untilAnswers(admin);
  }

  async function sendLate() {
    system.passTime(11_000);
    await system.runJob('outbox.relay', {});
  }

  test.each<[string, string, string, string]>([
    [
      'a promoted user',
      `update app_user set role = 'admin' where username = 'bob'`,
      `update app_user set role = 'developer' where username = 'bob'`,
      'user bob: role is "admin", and by the log "developer"',
    ],
    [
      'a grant that was added',
      `insert into vault_grant (vault_id, principal, owner, secrets, keys, allowed_cidrs, created_at, created_by)
       select v.id, 'user:' || u.id, 1, '[]', '[]', '[]', 0, 'x' from vault v, app_user u
        where v.name = 'edited' and u.username = 'bob'`,
      `delete from vault_grant where created_by = 'x'`,
      'grant user:bob in vault "edited" (*): it is in the database, and the log does not have it',
    ],
    [
      'a grant that was widened',
      `update vault_grant set secrets = '["list"]' where created_by = (select id from app_user where username = 'admin')`,
      `update vault_grant set secrets = '[]' where created_by = (select id from app_user where username = 'admin')`,
      'grant user:admin in vault "edited" (*): secrets is ["list"], and by the log []',
    ],
    [
      'an older version that was made the newest again',
      `update secret set current_version = 1 where name = 'edited/password'`,
      `update secret set current_version = 2 where name = 'edited/password'`,
      'secret edited/password in vault "edited" (*): version is 1, and by the log 2',
    ],
    [
      'an expiry that was put off',
      `update secret set due_at = due_at + 1000 where name = 'edited/password'`,
      `update secret set due_at = due_at - 1000 where name = 'edited/password'`,
      'secret edited/password in vault "edited" (*): expiresAt is "*", and by the log "*"',
    ],
    [
      'metadata that was edited',
      `update secret set metadata = '{"team":"b"}' where name = 'edited/password'`,
      `update secret set metadata = '{"team":"a"}' where name = 'edited/password'`,
      'secret edited/password in vault "edited" (*): metadata.team is "b", and by the log "a"',
    ],
    [
      'a secret that was taken away',
      `update secret set name = 'away' where name = 'edited/password'`,
      `update secret set name = 'edited/password' where name = 'away'`,
      'secret edited/password in vault "edited" (*): it is missing in the database',
    ],
    [
      'a limit of versions that was raised',
      `update vault set max_versions = 99 where name = 'edited'`,
      `update vault set max_versions = 10 where name = 'edited'`,
      'vault "edited" (*): maxVersions is 99, and by the log 10',
    ],
    [
      'an older version of a key that decrypts again',
      `update vault_key set min_decrypt_version = 1 where name = 'edited-key'`,
      `update vault_key set min_decrypt_version = 2 where name = 'edited-key'`,
      'key edited-key in vault "edited" (*): minDecryptVersion is 1, and by the log 2',
    ],
    [
      'an older version of a key that was made the newest again',
      `update vault_key set current_version = 1, min_encrypt_version = 1, min_decrypt_version = 1 where name = 'edited-key'`,
      `update vault_key set current_version = 2, min_encrypt_version = 2, min_decrypt_version = 2 where name = 'edited-key'`,
      'key edited-key in vault "edited" (*): currentVersion is 1, and by the log 2',
    ],
    [
      'a version of a key that was enabled',
      `update key_version set state = 'enabled' where state = 'disabled'
          and key_id = (select id from vault_key where name = 'edited-key')`,
      `update key_version set state = 'disabled' where version = 1
          and key_id = (select id from vault_key where name = 'edited-key')`,
      'key edited-key in vault "edited" (*): state.1 is "enabled", and by the log "disabled"',
    ],
    [
      'a key whose protection was taken away',
      `update vault_key set deletion_protection = 0 where name = 'edited-key'`,
      `update vault_key set deletion_protection = 1 where name = 'edited-key'`,
      'key edited-key in vault "edited" (*): deletionProtection is false, and by the log true',
    ],
    [
      'a key that was made due to be destroyed',
      `update vault_key set delete_at = 9000000000000 where name = 'edited-key'`,
      `update vault_key set delete_at = null where name = 'edited-key'`,
      'key edited-key in vault "edited" (*): deleteAt is "*", and by the log not set',
    ],
    [
      'a key that was taken away',
      `update vault_key set name = 'away' where name = 'edited-key'`,
      `update vault_key set name = 'edited-key' where name = 'away'`,
      'key edited-key in vault "edited" (*): it is missing in the database',
    ],
  ])('names %s', async (_what, sql, undo, line) => {
    const made = await admin.post('/vaults', { name: 'edited', maxVersions: 10 });
    if (made.status === 201) {
      const path = '/vaults/edited/secrets/edited/password';
      await admin.put(path, { value: '1', metadata: { team: 'a' } }).expect(201);
      await admin.put(path, { value: '2', expiresAt: inLog(9 * HOUR_MS) }).expect(200);
      const key = { name: 'edited-key', algorithm: 'aes-256-gcm', deletionProtection: true };
      await admin.post('/vaults/edited/keys', key).expect(201);
      const keyPath = '/vaults/edited/keys/edited-key';
      await admin.post(`${keyPath}:rotate`).expect(200);
      await admin.patch(keyPath, { minEncryptVersion: 2, minDecryptVersion: 2 }).expect(200);
      await admin.patch(`${keyPath}/versions/1`, { state: 'disabled' }).expect(200);
    }
    // A busy log must not hide it: nothing else of the database differs.
    const { code, err } = await tamper(sql, undo, () => alice.get('/auth/me').expect(200));
    expect(code).toBe(18);
    const told = err.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, '*').replace(/"\d{4}-[^"]+Z"/g, '"*"');
    expect(told).toContain(line);
    expect((await compare()).code).toBe(0);
  });

  test('an edit shows also after the row was changed by a call', async () => {
    await newUser(system, 'grace');
    const db = system.openDatabase();
    await db.query(`update app_user set role = 'admin' where username = 'grace'`);
    await db.close();
    await admin.patch('/users/grace', { role: 'ceo' }).expect(200);
    const { code, err } = await compare();
    expect({ code, err }).toEqual({
      code: 18,
      err: expect.stringMatching(
        /^DATABASE DIFFERS: user grace: role was changed from "admin", which no entry had set \(its last entry is \d+\)\n$/,
      ),
    });
    await admin.delete('/users/grace').expect(204);
  });

  test('a state that is cut off, or newer than the log, is not compared', async () => {
    const answer = await admin.get('/audit/state').expect(200);
    await expectRecords(system, answer, { action: 'audit.export', decision: 'allow', rule: 'role:admin' });
    const { body } = await admin.get('/audit/export').responseType('blob').expect(200);
    const log = body as Buffer;
    const lines = answer.text.split('\n');
    expect(verifyFiles(`${lines.slice(0, -2).join('\n')}\n`, log)).toMatchObject({ code: 1 });
    expect(verifyFiles(lines.toSpliced(2, 1).join('\n'), log)).toMatchObject({ code: 1 });
    const { text: newer } = await admin.get('/audit/state').expect(200);
    expect(verifyFiles(newer, log)).toMatchObject({ code: 1, err: expect.stringContaining('export the log after') });
    await bob.get('/audit/state').expect(403);
  });
});

/** More metadata than a record has room for. */
function labels(letter: string): Record<string, string> {
  return Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`${letter}${i}`, letter.repeat(512)]));
}
