import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seal } from '@cardea/contracts/seal-api';
import { profiles } from '@cardea/testkit/system';
import { inEachProfile, useSystem } from '@cardea/testkit/use-system';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { callAs, expectEventually } from '../access/probes.ts';
import { recordsOf } from '../identity/identity.ts';
import { deksOf, idOf, rotate } from '../rotation/ground.ts';
import { query } from '../secrets/ground.ts';
import { at, base64, encrypt, makeKey } from './ground.ts';

const written = (changed: Uint8Array) => `cardea:v4:${Buffer.from(changed).toString('base64')}`;
const materialOf = (name: string, of: string) =>
  `(select v.ciphertext from key_version v join vault_key k on k.id = v.key_id join vault u on u.id = k.vault_id
     where k.name = '${name}' and u.name = '${of}')`;

inEachProfile((system, { admin, alice }) => {
  const edit = (sql: string) => query(system, sql);

  describe('a ciphertext that does not open', () => {
    const data = { associatedDataBase64: base64('invoice 7') };
    const plain = { plaintextBase64: base64('iban'), ...data };
    let wrong: [what: string, body: { ciphertext: string; associatedDataBase64?: string }, rule: string][];
    let path: string;

    beforeAll(async () => {
      await alice.createVault('here');
      await alice.createVault('there');
      for (const [vault, name, algorithm] of [
        ['here', 'key', 'aes-256-gcm'],
        ['here', 'other', 'aes-256-gcm'],
        ['here', 'chacha', 'chacha20-poly1305'],
        ['there', 'key', 'aes-256-gcm'],
      ] as const) {
        await makeKey(alice, vault, name, algorithm);
      }
      path = at('here', 'key');
      for (let version = 1; version < 5; version++) await alice.post(`${path}:rotate`).expect(200);
      const of = (keyVersion: number) => encrypt(alice, 'here', 'key', { ...plain, keyVersion });
      const [retired, destroyed, disabled, good, newest] = [
        await of(1),
        await of(2),
        await of(3),
        await of(4),
        await of(5),
      ];
      await alice.patch(`${path}/versions/2`, { state: 'destroyed' }).expect(200);
      await alice.patch(`${path}/versions/3`, { state: 'disabled' }).expect(200);
      await alice.patch(path, { minEncryptVersion: 2, minDecryptVersion: 2 }).expect(200);
      await alice.post(`${path}:decrypt`, { ciphertext: good, ...data }).expect(200);
      const bytes = Buffer.from(good.replace('cardea:v4:', ''), 'base64');
      const flipped = Buffer.from(bytes);
      flipped[bytes.length - 1]! ^= 1;
      const broken = 'not-authentic';
      wrong = [
        ['of a retired version', { ciphertext: retired, ...data }, 'key-version-retired'],
        ['of a destroyed version', { ciphertext: destroyed, ...data }, 'key-version-destroyed'],
        ['of a disabled version', { ciphertext: disabled, ...data }, 'key-version-disabled'],
        ['of a version that does not exist', { ciphertext: good.replace('v4', 'v9'), ...data }, 'no-such-key-version'],
        ['under the name of another version', { ciphertext: good.replace('v4', 'v5'), ...data }, broken],
        ['of the newest under the name of another', { ciphertext: newest.replace('v5', 'v4'), ...data }, broken],
        ['with other associated data', { ciphertext: good, associatedDataBase64: base64('invoice 8') }, broken],
        ['without its associated data', { ciphertext: good }, broken],
        ['with a flipped bit', { ciphertext: written(flipped), ...data }, broken],
        ['without its last byte', { ciphertext: written(bytes.subarray(0, -1)), ...data }, broken],
        ['that has a nonce alone', { ciphertext: written(bytes.subarray(0, 12)), ...data }, broken],
        ['that has one byte', { ciphertext: written(bytes.subarray(0, 1)), ...data }, broken],
        [
          'of another algorithm',
          { ciphertext: await encrypt(alice, 'here', 'chacha', plain), ...data },
          'key-version-retired',
        ],
        [
          'of another key',
          { ciphertext: (await encrypt(alice, 'here', 'other', plain)).replace('v1', 'v4'), ...data },
          broken,
        ],
        [
          'of the same key of another vault',
          { ciphertext: (await encrypt(alice, 'there', 'key', plain)).replace('v1', 'v4'), ...data },
          broken,
        ],
        ['that is empty', { ciphertext: '', ...data }, broken],
        ['that is another text', { ciphertext: 'vault:v1:AAAA', ...data }, broken],
      ];
    });

    test('gets one answer, whatever is wrong, and the record says what', async () => {
      const answers = [];
      for (const [what, body] of wrong) {
        const { status, body: problem, headers } = await alice.post(`${path}:decrypt`, body);
        const { requestId, ...told } = problem as { requestId: string };
        answers.push({
          what,
          requestId,
          status,
          told,
          headers: Object.keys(headers),
          length: headers['content-length'],
        });
      }
      const [{ requestId: _, what: __, ...expected }] = answers as [(typeof answers)[0]];
      expect(expected).toMatchObject({ status: 400, told: { code: 'invalid_request' } });
      for (const { what, requestId: _requestId, ...answer } of answers)
        expect([what, answer]).toEqual([what, expected]);

      const entries = await admin.auditEntries({ vault: 'here', action: 'key.decrypt', decision: 'deny' });
      const rules = new Map(entries.map(({ event }) => [event.requestId, event.rule]));
      expect(answers.map(({ what, requestId }) => [what, rules.get(requestId)])).toEqual(
        wrong.map(([what, , rule]) => [what, rule]),
      );
    });

    test('gets it in a batch and from rewrap too', async () => {
      const items = wrong.map(([, body]) => body);
      for (const verb of ['decrypt', 'rewrap']) {
        const { body } = await alice.post(`${path}:${verb}`, { items }).expect(200);
        const told = new Set((body.items as object[]).map((item) => JSON.stringify(item)));
        expect([verb, told.size, [...told][0]]).toEqual([verb, 1, expect.stringContaining('invalid_request')]);
      }
    });
  });

  describe('a row of a key that was', () => {
    const vault = 'tampered';
    const works = async (name: string) =>
      (await alice.post(`${at(vault, name)}:encrypt`, { plaintextBase64: 'AAAA' })).status;

    beforeAll(async () => {
      await alice.createVault(vault);
      await alice.createVault('elsewhere');
      for (const name of ['one', 'two']) {
        await makeKey(alice, vault, name, 'aes-256-gcm');
        // From now on the material is in memory. It must not be used for another row.
        expect(await works(name)).toBe(200);
      }
      await makeKey(alice, 'elsewhere', 'one', 'aes-256-gcm');
    });

    const idOfKey = `(select k.id from vault_key k join vault u on u.id = k.vault_id
                       where u.name = '${vault}' and k.name = 'one')`;

    test.each([
      ['given the material of another key', `ciphertext = ${materialOf('two', vault)}`, 'key_version', 'key_id'],
      [
        'given the material of another vault',
        `ciphertext = ${materialOf('one', 'elsewhere')}`,
        'key_version',
        'key_id',
      ],
      ['edited to be of another algorithm', `algorithm = 'chacha20-poly1305'`, 'vault_key', 'id'],
    ])('%s does not open', async (_what, change, table, column) => {
      const [before] = await edit(
        `select ciphertext, algorithm from key_version v join vault_key k on k.id = v.key_id where k.id = ${idOfKey}`,
      );
      const { ciphertext, algorithm } = before as { ciphertext: Uint8Array; algorithm: string };
      await edit(`update ${table} set ${change} where ${column} = ${idOfKey}`);
      const refused = await alice.post(`${at(vault, 'one')}:encrypt`, { plaintextBase64: 'AAAA' });
      expect([refused.status, refused.body.code, refused.body.detail]).toEqual([500, 'internal', 'internal error']);
      expect(await recordsOf(system, refused)).toMatchObject([
        { action: 'key.encrypt', decision: 'deny', rule: 'integrity', suspicious: 'integrity_failure' },
      ]);
      const db = system.openDatabase();
      await db.query(`update key_version set ciphertext = $1 where key_id = ${idOfKey}`, [ciphertext]);
      await db.query(`update vault_key set algorithm = $1 where id = ${idOfKey}`, [algorithm]);
      await db.close();
      expect(await works('one')).toBe(200);
    });

    test('renamed does not open', async () => {
      await edit(`update vault_key set name = 'three' where id = ${idOfKey}`);
      expect(await works('three')).toBe(500);
      expect(await works('one')).toBe(404);
      await edit(`update vault_key set name = 'one' where name = 'three'`);
      expect(await works('one')).toBe(200);
    });
  });

  describe('a rotation', () => {
    test('of the DEK seals the material again, and every key goes on', async () => {
      await alice.createVault('turning');
      await makeKey(alice, 'turning', 'aes', 'aes-256-gcm');
      await makeKey(alice, 'turning', 'ed', 'ed25519');
      const ciphertext = await encrypt(alice, 'turning', 'aes', { plaintextBase64: base64('kept') });
      await alice.post(`${at('turning', 'aes')}:rotate`).expect(200);
      await alice.patch(`${at('turning', 'aes')}/versions/1`, { state: 'disabled' }).expect(200);
      const { body: before } = await alice.get(at('turning', 'ed')).expect(200);

      const shown = await rotate(system, admin, { kind: 'dek', vault: 'turning' });
      expect(shown).toMatchObject({ state: 'finished', total: 3, done: 3, failed: 0 });
      const vaultId = await idOf(admin, 'turning');
      expect(await deksOf(system, vaultId)).toEqual(['1 destroyed', '2 active']);
      const sealed = await query(system, `select dek_version from key_version where vault_id = $1`, [vaultId]);
      expect(sealed).toEqual([{ dek_version: 2 }, { dek_version: 2 }, { dek_version: 2 }]);

      await alice.patch(`${at('turning', 'aes')}/versions/1`, { state: 'enabled' }).expect(200);
      const opened = await alice.post(`${at('turning', 'aes')}:decrypt`, { ciphertext }).expect(200);
      expect(opened.body.plaintextBase64).toBe(base64('kept'));
      const { body: after } = await alice.get(at('turning', 'ed')).expect(200);
      expect(after.publicKeyPem).toBe(before.publicKeyPem);
      const records = await admin.auditEntries({ vault: 'turning', action: 'dek.reseal' });
      expect(records.map(({ event }) => [event.reason, event.resource?.count])).toEqual([['key-version', 3]]);
    });

    test('of a key in the middle of 10,000 encryptions and decryptions breaks none', async () => {
      await alice.createVault('busy');
      await makeKey(alice, 'busy', 'aes', 'aes-256-gcm');
      const path = at('busy', 'aes');
      const items = Array.from({ length: 500 }, (_, i) => ({ plaintextBase64: base64(`item ${i}`) }));
      const batch = async () => {
        const sealed = await alice.post(`${path}:encrypt`, { items }).expect(200);
        const made = (sealed.body.items as { ciphertext: string }[]).map(({ ciphertext }) => ({ ciphertext }));
        const opened = await alice.post(`${path}:decrypt`, { items: made }).expect(200);
        const texts = (opened.body.items as object[]).map((item) => ({ ...item, keyVersion: 0 }));
        expect(texts).toEqual(items.map((item) => ({ ...item, keyVersion: 0 })));
        return new Set(made.map(({ ciphertext }) => ciphertext.split(':')[1]));
      };
      const turned = async () => {
        for (let i = 0; i < 5; i++) await alice.post(`${path}:rotate`).expect(200);
        return new Set<string | undefined>();
      };
      const first = await batch();
      const used = await Promise.all([turned(), ...Array.from({ length: 18 }, batch)]);
      const last = await batch();
      expect([[...first], [...last]]).toEqual([['v1'], ['v6']]);
      // A batch that began under one version may end under it.
      expect(new Set([...first, ...last, ...used.flatMap((set) => [...set])]).size).toBeGreaterThan(1);
    });
  });

  test('a version that is disabled while a batch runs gives nothing from then on', async () => {
    await alice.createVault('stopped');
    await makeKey(alice, 'stopped', 'rsa', 'rsa-4096');
    const path = at('stopped', 'rsa');
    const items = Array.from({ length: 400 }, () => ({ messageBase64: 'AAAA' }));
    const set = (state: string) => alice.patch(`${path}/versions/1`, { state }).expect(200);
    let details: (string | undefined)[] = [];
    // If the version was disabled before the batch had begun, or after it had ended, it is tried again.
    for (let tries = 0; tries < 10 && !details.some((detail) => detail?.includes('meanwhile')); tries++) {
      await set('enabled');
      const batch = alice.post(`${path}:sign`, { items });
      const [{ body }] = await Promise.all([batch, alice.get(path).then(() => set('disabled'))]);
      const answers = body.items as { error?: { code: string; detail: string }; signature?: string }[];
      // All or none.
      expect(new Set(answers.map(({ error }) => error?.code)).size).toBe(1);
      details = answers.map(({ error }) => error?.detail);
    }
    expect(details).toEqual(items.map(() => 'version 1 was disabled meanwhile'));
    const [record] = await admin.auditEntries({ vault: 'stopped', action: 'key.sign' });
    expect(record!.event).toMatchObject({
      decision: 'deny',
      reason: 'conflict',
      resource: { count: 400, failed: 400 },
    });
  });

  describe('a vault with keys', () => {
    test('is deleted only on request, with its keys', async () => {
      await alice.createVault('doomed');
      await makeKey(alice, 'doomed', 'aes', 'aes-256-gcm');
      const { body } = await alice.delete('/vaults/doomed').expect(409);
      expect(body.detail).toContain('the vault holds 1 key');
      const vaultId = await idOf(admin, 'doomed');
      await alice.delete('/vaults/doomed?recursive=true').expect(204);
      await alice.post(`${at('doomed', 'aes')}:encrypt`, { plaintextBase64: 'AAAA' }).expect(404);
      await system.runJob('vault.sweep', {});
      for (const table of ['vault_key', 'key_version']) {
        const rows = await query(system, `select count(*) as n from ${table} where vault_id = $1`, [vaultId]);
        expect([table, rows]).toEqual([table, [{ n: 0 }]]);
      }
    });
  });

  test('no material is in the database, a log or a record in clear', async () => {
    await alice.createVault('clear');
    await makeKey(alice, 'clear', 'ed', 'ed25519');
    const [row] = await query<{ ciphertext: Uint8Array }>(
      system,
      `select v.ciphertext from key_version v join vault u on u.id = v.vault_id where u.name = 'clear'`,
    );
    const { ciphertext } = row!;
    // Format 1 of the envelope, DEK version 1; PKCS#8 of Ed25519 has 48 bytes, and the kind one (FORMAT.md).
    expect([Buffer.from(ciphertext.subarray(0, 5)).toString('hex'), ciphertext.length]).toEqual([
      '0100000001',
      45 + 49,
    ]);
    const oid = Buffer.from('06032b6570', 'hex');
    expect(Buffer.from(ciphertext).includes(oid)).toBe(false);
  });
});

describe.each(profiles)('in profile %s, once kek-service is sealed', (profile) => {
  const settings: NodeJS.ProcessEnv = { CARDEA_SEAL: 'passphrase' };
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cardea-passphrase-'));
    const file = join(folder, 'passphrase');
    await writeFile(file, 'a long enough passphrase\n', { mode: 0o600 });
    settings['CARDEA_SEAL_PASSPHRASE_FILE'] = file;
  });
  const [system, { admin }] = useSystem(profile, settings);
  afterAll(async () => rm(folder, { recursive: true }));

  test('no key does anything, whether its material was in memory or not', async () => {
    await admin.createVault('payments');
    await makeKey(admin, 'payments', 'aes', 'aes-256-gcm');
    await encrypt(admin, 'payments', 'aes', { plaintextBase64: 'AAAA' });
    await callAs(system, { name: 'operator', peer: 'kek-service' }, (client) => client.call(seal, { body: {} }));
    await expectEventually(async () => {
      const refused = await admin.post(`${at('payments', 'aes')}:encrypt`, { plaintextBase64: 'AAAA' }).expect(503);
      expect(refused.body.code).toBe('sealed');
      expect(await recordsOf(system, refused)).toMatchObject([
        { action: 'key.encrypt', decision: 'deny', reason: 'sealed' },
      ]);
    });
    await admin.post(`/vaults/payments/keys`, { name: 'ed', algorithm: 'ed25519' }).expect(503);
  });
});
