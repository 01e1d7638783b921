import { execFile } from 'node:child_process';
import {
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DAY_MS, HOUR_MS } from '@cardea/contracts/durations';
import type { Person } from '@cardea/testkit/person';
import { inEachProfile } from '@cardea/testkit/use-system';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { grant } from '../access/granting.ts';
import { recordsOf } from '../identity/identity.ts';
import { rotate } from '../rotation/ground.ts';
import { query } from '../secrets/ground.ts';
import { at, base64, keyTrail, makeKey } from './ground.ts';

const run = promisify(execFile);
const VAULT = 'imports';
const KWP_VALUE = 'a65959a6';

interface Job {
  wrappingKeyPem: string;
  importToken: string;
  expiresAt: string;
}

const openssl = (...args: string[]) => run('openssl', args, { encoding: 'buffer' });
const jobOf = async (person: Person, vault = VAULT) =>
  (await person.post(`/vaults/${vault}/keys:importJob`).expect(201)).body as Job;
const importAs = (person: Person, name: string, body: object, vault = VAULT) =>
  person.post(`${at(vault, name)}:import`, body);

inEachProfile((system, { admin, alice, bob }) => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cardea-import-'));
    await alice.createVault(VAULT);
    await alice.createVault('other');
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  const file = (name: string) => join(folder, name);

  /** Wraps bytes as an owner of a key does, with nothing but openssl. */
  async function wrap({ wrappingKeyPem }: { wrappingKeyPem: string }, key: Uint8Array): Promise<string> {
    const aesKey = randomBytes(32);
    await writeFile(file('wrapping.pem'), wrappingKeyPem);
    await writeFile(file('aes.bin'), aesKey);
    await writeFile(file('key.bin'), key);
    const oaep = ['rsa_padding_mode:oaep', 'rsa_oaep_md:sha256', 'rsa_mgf1_md:sha256'];
    const options = oaep.flatMap((option) => ['-pkeyopt', option]);
    const pair = ['-pubin', '-inkey', file('wrapping.pem')];
    await openssl('pkeyutl', '-encrypt', ...pair, ...options, '-in', file('aes.bin'), '-out', file('oaep.bin'));
    const cipher = ['-id-aes256-wrap-pad', '-K', aesKey.toString('hex'), '-iv', KWP_VALUE];
    await openssl('enc', '-e', ...cipher, '-in', file('key.bin'), '-out', file('kwp.bin'));
    return Buffer.concat([await readFile(file('oaep.bin')), await readFile(file('kwp.bin'))]).toString('base64');
  }

  /** Unwraps what Cardea exported to the key in `to.pem`. */
  async function unwrap(wrappedKeyBase64: string): Promise<Buffer> {
    const wrapped = Buffer.from(wrappedKeyBase64, 'base64');
    await writeFile(file('oaep.bin'), wrapped.subarray(0, 384));
    await writeFile(file('kwp.bin'), wrapped.subarray(384));
    const oaep = ['rsa_padding_mode:oaep', 'rsa_oaep_md:sha256', 'rsa_mgf1_md:sha256'];
    const options = oaep.flatMap((option) => ['-pkeyopt', option]);
    const from = ['-inkey', file('to.pem'), '-in', file('oaep.bin')];
    const { stdout: aesKey } = await openssl('pkeyutl', '-decrypt', ...from, ...options);
    const cipher = ['-id-aes256-wrap-pad', '-K', aesKey.toString('hex'), '-iv', KWP_VALUE];
    await openssl('enc', '-d', ...cipher, '-in', file('kwp.bin'), '-out', file('key.out'));
    return readFile(file('key.out'));
  }

  const refusedBy = async (answer: Awaited<ReturnType<typeof importAs>>, status: number, rule: string) => {
    expect([answer.status, rule]).toEqual([status, rule]);
    const [record] = await recordsOf(system, answer);
    expect(record).toMatchObject({ action: 'key.import', decision: 'deny', rule });
    return answer.body.detail as string;
  };

  describe('a key that openssl made and wrapped', () => {
    test('of Ed25519 signs what openssl verifies', async () => {
      await openssl('genpkey', '-algorithm', 'ed25519', '-outform', 'DER', '-out', file('ed.der'));
      const { stdout: pem } = await openssl('pkey', '-in', file('ed.der'), '-inform', 'DER', '-pubout');
      const job = await jobOf(alice);
      const wrappedKeyBase64 = await wrap(job, await readFile(file('ed.der')));
      const body = { algorithm: 'ed25519', importToken: job.importToken, wrappedKeyBase64 };
      const imported = await importAs(alice, 'signer', body).expect(201);
      expect(imported.body).toMatchObject({
        name: 'signer',
        algorithm: 'ed25519',
        currentVersion: 1,
        publicOnly: false,
      });
      expect(imported.body.publicKeyPem).toBe(pem.toString());
      const signed = await alice.post(`${at(VAULT, 'signer')}:sign`, { messageBase64: base64('v1') }).expect(200);
      await writeFile(file('pub.pem'), pem);
      await writeFile(file('message'), 'v1');
      await writeFile(file('signature'), Buffer.from((signed.body.signature as string).slice(10), 'base64'));
      const verified = ['-verify', '-rawin', '-pubin', '-inkey', file('pub.pem'), '-in', file('message')];
      const { stdout } = await openssl('pkeyutl', ...verified, '-sigfile', file('signature'));
      expect(stdout.toString()).toContain('Signature Verified Successfully');
      const [record] = await recordsOf(system, imported);
      expect(record).toMatchObject({
        action: 'key.import',
        decision: 'allow',
        rule: 'grant:owner',
        resource: { vault: VAULT, name: 'signer', keyVersion: 1 },
        changes: { algorithm: { to: 'ed25519' }, publicOnly: { to: false }, currentVersion: { to: 1 } },
      });
    });

    test('of AES encrypts what is decrypted elsewhere, and gets a second version by another import', async () => {
      const key = randomBytes(32);
      for (const [index, status] of [201, 200].entries()) {
        const job = await jobOf(alice);
        const wrappedKeyBase64 = await wrap(job, index === 0 ? key : randomBytes(32));
        const body = { algorithm: 'aes-256-gcm', importToken: job.importToken, wrappedKeyBase64 };
        const { body: imported } = await importAs(alice, 'sealer', body).expect(status);
        expect(imported.currentVersion).toBe(index + 1);
      }
      const body = { plaintextBase64: base64('iban'), keyVersion: 1 };
      const { body: sealed } = await alice.post(`${at(VAULT, 'sealer')}:encrypt`, body).expect(200);
      const bytes = Buffer.from((sealed.ciphertext as string).replace('cardea:v1:', ''), 'base64');
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAuthTag(bytes.subarray(-16));
      expect(Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString()).toBe('iban');
    });
  });

  describe('a wrapping key', () => {
    const aes = { algorithm: 'aes-256-gcm' };
    test('works once, for its own vault and its own caller, and until it expires', async () => {
      await grant(alice, VAULT, 'user:bob', { keys: ['import', 'list'] });
      const job = await jobOf(alice);
      const body = { ...aes, importToken: job.importToken, wrappedKeyBase64: await wrap(job, randomBytes(32)) };
      const told = [
        await refusedBy(await importAs(alice, 'once', body, 'other'), 409, 'import-token-unknown'),
        await refusedBy(await importAs(bob, 'once', body), 409, 'import-token-unknown'),
        await refusedBy(await importAs(alice, 'once', { ...body, importToken: 'no' }), 409, 'import-token-unknown'),
      ];
      await importAs(alice, 'once', body).expect(201);
      told.push(await refusedBy(await importAs(alice, 'twice', body), 409, 'import-token-used'));
      const late = await jobOf(alice);
      const lateBody = { ...aes, importToken: late.importToken, wrappedKeyBase64: await wrap(late, randomBytes(32)) };
      system.passTime(DAY_MS);
      await system.as('alice');
      told.push(await refusedBy(await importAs(alice, 'late', lateBody), 409, 'import-token-expired'));
      system.passTime(HOUR_MS + 1);
      for (const name of ['alice', 'bob', 'admin'] as const) await system.as(name);
      await system.runJob('event.sweep', {});
      told.push(await refusedBy(await importAs(alice, 'late', lateBody), 409, 'import-token-unknown'));
      expect(new Set(told).size).toBe(1);
      for (const name of ['twice', 'late']) await alice.get(at(VAULT, name)).expect(404);
      await alice.get(at('other', 'once')).expect(404);
      expect(await keyTrail(system, VAULT, 'key.import')).toEqual(
        expect.arrayContaining(['key.import! twice import-token-used', 'key.import! late import-token-expired']),
      );
    });

    test('is used up by what does not unwrap, and by what is no key of the algorithm', async () => {
      const wrongs: [string, (job: Job) => Promise<string>, string][] = [
        ['aes-256-gcm', async () => base64('x'.repeat(600)), 'import-unwrap'],
        ['aes-256-gcm', (job) => wrap(job, randomBytes(31)), 'import-key'],
        ['rsa-2048', (job) => wrap(job, randomBytes(32)), 'import-key'],
        ['ecdsa-p256', (job) => wrap(job, der('ec', { namedCurve: 'secp384r1' })), 'import-key'],
        ['rsa-2048', (job) => wrap(job, der('rsa', { modulusLength: 2048, publicExponent: 3 })), 'import-key'],
      ];
      for (const [algorithm, wrapped, rule] of wrongs) {
        const job = await jobOf(alice);
        const body = { algorithm, importToken: job.importToken, wrappedKeyBase64: await wrapped(job) };
        await refusedBy(await importAs(alice, 'wrong', body), 400, rule);
        const good = { ...aes, importToken: job.importToken, wrappedKeyBase64: await wrap(job, randomBytes(32)) };
        await refusedBy(await importAs(alice, 'wrong', good), 409, 'import-token-used');
      }
    });

    test('imports one of two keys that come at once', async () => {
      const job = await jobOf(alice);
      const { importToken } = job;
      const bodies = [await wrap(job, randomBytes(32)), await wrap(job, randomBytes(32))];
      const answers = await Promise.all(
        bodies.map((wrappedKeyBase64, index) =>
          importAs(alice, `race-${index}`, { ...aes, importToken, wrappedKeyBase64 }),
        ),
      );
      expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 409]);
    });

    test('survives a rotation of the DEKs of the system, and its private key is gone once it was used', async () => {
      const job = await jobOf(alice);
      await rotate(system, admin, { kind: 'dek' });
      const body = { ...aes, importToken: job.importToken, wrappedKeyBase64: await wrap(job, randomBytes(32)) };
      await importAs(alice, 'rotated', body).expect(201);
      const rows = await query(system, `select id from key_import where ciphertext is not null`);
      const before = rows.length;
      await jobOf(alice);
      expect((await query(system, `select id from key_import where ciphertext is not null`)).length).toBe(before + 1);
    });
  });

  describe('an import', () => {
    test('needs the right to rotate too if the key exists, and its algorithm', async () => {
      await makeKey(alice, VAULT, 'existing', 'ed25519');
      await makeKey(alice, VAULT, 'existing-aes', 'aes-128-gcm');
      await grant(alice, VAULT, 'user:bob', { keys: ['import', 'list'] });
      const job = await jobOf(bob);
      const wrappedKeyBase64 = await wrap(job, der('ed25519', {}));
      const body = { algorithm: 'ed25519', importToken: job.importToken, wrappedKeyBase64 };
      await importAs(bob, 'existing', body).expect(403);
      await grant(alice, VAULT, 'user:bob', { keys: ['import', 'list', 'rotate'] });
      await importAs(bob, 'existing-aes', body).expect(409);
      await importAs(bob, 'existing', body).expect(200);
      expect((await alice.get(at(VAULT, 'existing')).expect(200)).body.currentVersion).toBe(2);
    });

    test('of a public key makes a key that verifies and encrypts, and nothing else', async () => {
      const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const publicKeyPem = rsa.publicKey.export({ type: 'spki', format: 'pem' });
      const imported = await importAs(alice, 'partner', { algorithm: 'rsa-2048', publicKeyPem }).expect(201);
      expect(imported.body).toMatchObject({ publicOnly: true, exportable: false, publicKeyPem });
      const path = at(VAULT, 'partner');
      const message = { messageBase64: base64('m') };
      const signature = `cardea:v1:${sign('sha256', Buffer.from('m'), rsa.privateKey).toString('base64')}`;
      const terms = { ...message, signature, scheme: 'rsassa-pkcs1-v1_5' };
      expect((await alice.post(`${path}:verify`, terms).expect(200)).body).toEqual({ valid: true });
      const { body: sealed } = await alice.post(`${path}:encrypt`, { plaintextBase64: 'AAAA' }).expect(200);
      const refused: [string, object | undefined][] = [
        [':sign', message],
        [':signJws', { payloadBase64: base64('m') }],
        [':decrypt', { ciphertext: sealed.ciphertext }],
        [':rewrap', { ciphertext: sealed.ciphertext }],
        [':rotate', undefined],
        [':export', { publicKeyPem }],
      ];
      for (const [verb, body] of refused) {
        const answer = await alice.post(`${path}${verb}`, body);
        const [record] = await recordsOf(system, answer);
        const rule = verb === ':export' ? 'key-not-exportable' : 'key-public-only';
        expect([verb, answer.status, record!.rule]).toEqual([verb, 409, rule]);
      }
      await alice.patch(path, { rotationPeriodSeconds: 3_600 }).expect(409);
      await importAs(alice, 'signer', { algorithm: 'rsa-2048', publicKeyPem }).expect(409);
      const secret = rsa.privateKey.export({ type: 'pkcs8', format: 'pem' });
      await importAs(alice, 'leak', { algorithm: 'rsa-2048', publicKeyPem: secret }).expect(400);
      await importAs(alice, 'other-kind', { algorithm: 'rsa-3072', publicKeyPem }).expect(400);
    });
  });

  test.each([
    ['x25519', 'deriveSharedSecret', (publicKeyPem: string) => ({ peerPublicKeyPem: publicKeyPem })],
    ['ml-kem-768', 'decapsulate', () => ({ ciphertext: `cardea:v1:${Buffer.alloc(1_088).toString('base64')}` })],
  ] as const)('a public key of %s does no %s', async (algorithm, verb, bodyOf) => {
    const generate = generateKeyPairSync as (type: string) => { publicKey: KeyObject };
    const publicKeyPem = generate(algorithm).publicKey.export({ type: 'spki', format: 'pem' });
    await importAs(alice, `half-${algorithm}`, { algorithm, publicKeyPem }).expect(201);
    const answer = await alice.post(`${at(VAULT, `half-${algorithm}`)}:${verb}`, bodyOf(publicKeyPem)).expect(409);
    const [record] = await recordsOf(system, answer);
    expect(record).toMatchObject({ decision: 'deny', rule: 'key-public-only' });
  });

  describe('an export', () => {
    let to: { publicKeyPem: string };

    beforeAll(async () => {
      const pair = generateKeyPairSync('rsa', { modulusLength: 3072 });
      await writeFile(file('to.pem'), pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));
      to = { publicKeyPem: pair.publicKey.export({ type: 'spki', format: 'pem' }) };
    });

    test.each(['aes-256-gcm', 'hmac-sha256', 'ed25519', 'rsa-2048', 'ml-dsa-65'])(
      'of %s is unwrapped by openssl',
      async (algorithm) => {
        const name = `out-${algorithm}`;
        await alice.post(`/vaults/${VAULT}/keys`, { name, algorithm, exportable: true }).expect(201);
        const exported = await alice.post(`${at(VAULT, name)}:export`, to).expect(200);
        const bytes = await unwrap(exported.body.wrappedKeyBase64 as string);
        expect(await keyTrail(system, VAULT, 'key.export')).toContain(`key.export ${name} v1 grant:owner`);
        if (/^(aes|hmac)/.test(algorithm)) expect(bytes).toHaveLength(32);
        else {
          const key = createPrivateKey({ key: bytes, type: 'pkcs8', format: 'der' });
          const { body } = await alice.get(at(VAULT, name)).expect(200);
          expect(createPublicKey(key).export({ type: 'spki', format: 'pem' })).toBe(body.publicKeyPem);
        }
      },
    );

    test('goes into another vault, and the key is the same there', async () => {
      const job = await jobOf(alice, 'other');
      const path = at(VAULT, 'out-aes-256-gcm');
      const { body: exported } = await alice.post(`${path}:export`, { publicKeyPem: job.wrappingKeyPem }).expect(200);
      const { wrappedKeyBase64 } = exported as { wrappedKeyBase64: string };
      const body = { algorithm: 'aes-256-gcm', importToken: job.importToken, wrappedKeyBase64 };
      await importAs(alice, 'moved', body, 'other').expect(201);
      const { body: sealed } = await alice.post(`${path}:encrypt`, { plaintextBase64: base64('same') }).expect(200);
      const opened = await alice.post(`${at('other', 'moved')}:decrypt`, { ciphertext: sealed.ciphertext }).expect(200);
      expect(opened.body.plaintextBase64).toBe(base64('same'));
    });

    test('is refused for a key that was not made so, also if its row says otherwise', async () => {
      await makeKey(alice, VAULT, 'kept', 'aes-256-gcm');
      const refused = await alice.post(`${at(VAULT, 'kept')}:export`, to).expect(409);
      expect((await recordsOf(system, refused))[0]).toMatchObject({ decision: 'deny', rule: 'key-not-exportable' });
      await query(system, `update vault_key set exportable = 1 where name = 'kept'`);
      const forged = await alice.post(`${at(VAULT, 'kept')}:export`, to).expect(500);
      expect((await recordsOf(system, forged))[0]).toMatchObject({ decision: 'deny', suspicious: 'integrity_failure' });
    });

    test('is refused to what is no public RSA key, and for a disabled version', async () => {
      const path = at(VAULT, 'out-aes-256-gcm');
      const short = generateKeyPairSync('rsa', { modulusLength: 1024 });
      const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      const secret = generateKeyPairSync('rsa', { modulusLength: 2048 });
      for (const key of [short.publicKey, ec.publicKey]) {
        const publicKeyPem = key.export({ type: 'spki', format: 'pem' });
        await alice.post(`${path}:export`, { publicKeyPem }).expect(400);
      }
      const publicKeyPem = secret.privateKey.export({ type: 'pkcs8', format: 'pem' });
      await alice.post(`${path}:export`, { publicKeyPem }).expect(400);
      await alice.post(`${path}:export`, { publicKeyPem: 'x' }).expect(400);
      await alice.post(`${path}:export`, { ...to, keyVersion: 7 }).expect(404);
      await alice.patch(`${path}/versions/1`, { state: 'disabled' }).expect(200);
      await alice.post(`${path}:export`, to).expect(409);
    });
  });
});

function der(type: 'ed25519' | 'rsa' | 'ec', options: object): Buffer {
  const generate = generateKeyPairSync as unknown as (
    type: string,
    options: object,
  ) => { privateKey: { export(how: object): Buffer } };
  return generate(type, options).privateKey.export({ type: 'pkcs8', format: 'der' });
}
