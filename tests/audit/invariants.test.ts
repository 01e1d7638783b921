import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Person } from '@cardea/testkit/person';
import { createTestSystem } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { inEachProfile } from '@cardea/testkit/use-system';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { expectEventually, forgetDeks } from '../access/probes.ts';
import { query, untilAnswers } from '../secrets/ground.ts';

inEachProfile((system, { admin }) => {
  beforeAll(async () => {
    await admin.createVault('payments');
  });
  beforeEach(async () => {
    await system.as('admin');
    await admin.putSecret('payments', 'db/password', 'hunter2');
  });

  test('I1: while the audit log does not answer nothing is released, health stays up, and nothing is recorded', async () => {
    await admin.readSecret('payments', 'db/password');
    const before = await admin.auditEntries();
    await system.stopService('audit');

    const calls = [
      admin.get('/vaults/payments/secrets/db/password'),
      admin.get('/vaults/payments/secrets'),
      admin.put('/vaults/payments/secrets/db/password', { value: 'other' }),
      admin.get('/vaults'),
      admin.post('/vaults', { name: 'another' }),
      admin.get('/auth/me'),
    ];
    for (const answer of await Promise.all(calls)) {
      expect(answer.status).toBe(503);
      expect(answer.body).toMatchObject({ code: 'unavailable' });
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
      expect(answer.text).not.toContain('hunter2');
    }
    expect((await fetch(`${system.url}/healthz`)).status).toBe(200);

    await system.startService('audit');
    await untilAnswers(admin);
    expect(await admin.readSecret('payments', 'db/password')).toMatch(/^(hunter2|other)$/);
    const after = await admin.auditEntries();
    expect(after.length).toBeGreaterThan(before.length);
  });

  test('I2: a change whose record could not be sent at once is recorded exactly once when the log answers again', async () => {
    // The row must stay young.
    system.stopClock();
    await system.stopService('audit');
    await admin.post('/vaults', { name: 'unrecorded' }).expect(503);
    await system.startService('audit');
    await untilAnswers(admin);
    await admin.get('/vaults/unrecorded').expect(200);
    const created = () => admin.auditEntries({ action: 'vault.create', vault: 'unrecorded' });
    // The relay leaves young rows to the request that may still be waiting.
    await system.runJob('outbox.relay', {});
    expect(await created()).toEqual([]);
    system.passTime(11_000);
    system.startClock();
    await system.runJob('outbox.relay', {});
    await expectEventually(async () => {
      expect(await created()).toHaveLength(1);
      const rows = await query(system, 'select id from outbox');
      expect(rows).toEqual([]);
    });
  });

  test('I2: an outbox row that the log refuses does not delay the others', async () => {
    const good = { ...(await admin.auditEntries())[0]!.event, id: '0197f3c2-0000-7000-8000-00000000beef' };
    const db = system.openDatabase();
    const add = `insert into outbox (id, event, created_at) values ($1, $2, $3)`;
    await db.query(add, ['bad', '{"id":"bad"}', 1]);
    await db.query(add, [good.id, JSON.stringify(good), 2]);

    await expect(system.runJob('outbox.relay', {})).rejects.toThrow();
    expect(await db.query<{ id: string }>(`select id from outbox where created_at < 3`)).toEqual([{ id: 'bad' }]);
    await db.query(`delete from outbox where id = 'bad'`);
    await db.close();
    const sent = (await admin.auditEntries()).filter(({ event }) => event.id === good.id);
    expect(sent).toHaveLength(1);
  });

  test('an unwrapped DEK is overwritten after five minutes, even if nobody asks for it again', async () => {
    const [vault] = (await admin.get('/vaults').expect(200)).body.items as { id: string }[];
    const ref = { vaultId: vault!.id, dekVersion: 1 };
    const dek = await system.vault.deks.use(ref, (key) => key);
    expect(dek.bytes()).toHaveLength(32);
    system.passTime(5 * MINUTE_MS + 1);
    await expectEventually(async () => {
      expect(() => dek.bytes()).toThrow('destroyed');
    });
  });

  test('the first password is in its file until it is changed, and nowhere after that', async () => {
    await using fresh = await createTestSystem(system.profile);
    const first = await fresh.as('admin');
    const file = join(fresh.dataDir, 'initial-admin-password');
    const currentPassword = (await readFile(file, 'utf8')).trim();
    const newPassword = 'another horse, another staple';
    await first.post('/auth/password', { currentPassword, newPassword }).expect(204);
    expect((await search(fresh, currentPassword)).holding).toEqual([]);
    await Person.signIn(fresh.url, 'admin', newPassword);
  });

  test('a write with a condition that does not hold changes nothing', async () => {
    await admin.createVault('conditional');
    await admin.putSecret('conditional', 's', 'as it was');
    for (const [name, value] of [
      ['If-Match', '"7"'],
      ['If-None-Match', '*'],
    ] as const) {
      const put = admin.put('/vaults/conditional/secrets/s', { value: 'overwritten' }).set(name, value);
      expect((await put).status).toBe(412);
    }
    expect(await admin.readSecret('conditional', 's')).toBe('as it was');
    const refused = await admin.auditEntries({ action: 'secret.write', decision: 'deny', vault: 'conditional' });
    expect(refused).toHaveLength(2);
  });

  describe('I3: a row that somebody with access to the database has', () => {
    let tampered: TestSystem;
    let owner: Person;

    beforeEach(async () => {
      tampered = await createTestSystem(system.profile);
      owner = await tampered.as('admin');
      for (const vault of ['payments', 'other']) await owner.createVault(vault);
      await owner.putSecret('payments', 'db/password', 'hunter2');
    });
    afterEach(async () => {
      await tampered[Symbol.asyncDispose]();
    });

    const moves: [string, string[], string][] = [
      [
        'moved to another vault',
        [`update secret set vault_id = (select id from vault where name = 'other')`],
        '/vaults/other/secrets/db/password',
      ],
      [
        'given another name',
        [`update secret set name = 'db/passwort' where name = 'db/password'`],
        '/vaults/payments/secrets/db/passwort',
      ],
      [
        'given another version',
        [`update secret_version set version = 7`, `update secret set current_version = 7`],
        '/vaults/payments/secrets/db/password',
      ],
      [
        'had its value swapped with that of another secret',
        [
          `update secret_version
              set ciphertext = (select v.ciphertext from secret_version v join secret s on s.id = v.secret_id where s.name = 'twin')`,
        ],
        '/vaults/payments/secrets/db/password',
      ],
      [
        'had its DEK swapped with that of another vault',
        [
          `update dek set wrapped = (select d.wrapped from dek d join vault v on v.id = d.vault_id where v.name = 'other')
            where vault_id = (select id from vault where name = 'payments')`,
        ],
        '/vaults/payments/secrets/db/password',
      ],
    ];

    test.each(moves)('%s does not open, and is reported as damage, not as absence', async (_what, tampering, path) => {
      await owner.putSecret('payments', 'twin', 'other value');
      const db = tampered.openDatabase();
      for (const sql of tampering) await db.query(sql);
      await db.close();
      await forgetDeks(tampered);

      const answer = await owner.get(path);
      expect([answer.status, answer.body.code]).toEqual([500, 'internal']);
      expect(answer.text).not.toMatch(/hunter2|other value/);
      const [entry] = await owner.auditEntries({ decision: 'deny' });
      expect(entry!.event).toMatchObject({
        action: 'secret.read',
        decision: 'deny',
        suspicious: 'integrity_failure',
      });
    });
  });

  test('I6: a secret is in no page, log or key of any store', async () => {
    const canary = 'canary-5f1e0c4f9b7d';
    await admin.putSecret('payments', 'canary', canary);
    await admin.readSecret('payments', 'canary');
    await admin.put('/vaults/payments/secrets/bad', { value: canary, oops: canary }).expect(400);
    await admin.get(`/vaults/payments/secrets/canary?version=${canary}`).expect(400);

    const found = await search(system, canary);
    expect(found.read).toBeGreaterThan(3);
    expect(found.holding).toEqual([]);
  });
});

/** Reads every file of the data folder, and every table if the data is elsewhere. */
async function search(system: TestSystem, text: string): Promise<{ read: number; holding: string[] }> {
  const holding: string[] = [];
  let read = 0;
  for (const entry of await readdir(system.dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    read += 1;
    const path = join(entry.parentPath, entry.name);
    if ((await readFile(path)).includes(text)) holding.push(path);
  }
  for (const table of system.profile === 'full'
    ? ['secret', 'secret_version', 'dek', 'outbox', 'session', 'vault']
    : []) {
    const db = system.openDatabase();
    read += 1;
    const rows = await db.query<Record<string, unknown>>(`select * from ${table}`);
    await db.close();
    const flat = rows
      .flatMap(Object.values)
      .map((v) => (v instanceof Uint8Array ? Buffer.from(v).toString('latin1') : String(v)));
    if (flat.some((value) => value.includes(text))) holding.push(table);
  }
  return { read, holding };
}
