import {
  createHash,
  createPublicKey,
  createVerify,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
  verify,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { keyAlgorithms } from '@cardea/contracts/keys/key-shapes';
import { inEachProfile } from '@cardea/testkit/use-system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { grant } from '../access/granting.ts';
import { recordsOf } from '../identity/identity.ts';
import { query } from '../secrets/ground.ts';
import { at, base64, encrypt, keyTrail, makeKey } from './ground.ts';

const VAULT = 'keyring';
const encrypting = keyAlgorithms.filter((name) => /^(aes|chacha|fernet|rsa)/.test(name));
const signing = keyAlgorithms.filter((name) => /^(rsa|ecdsa|ed25519|ml-dsa)/.test(name));
const sharing = keyAlgorithms.filter((name) => /^(ecdh|x25519|ml-kem)/.test(name));
const authenticating = keyAlgorithms.filter((name) => name.startsWith('hmac'));

// RFC 7517 sections 4.2 and 4.4, where a key has one use and one name of its signatures.
const usesOfJwk: Record<string, [use: string | undefined, alg: string | undefined]> = {
  'rsa-2048': [undefined, undefined],
  'rsa-3072': [undefined, undefined],
  'rsa-4096': [undefined, undefined],
  'ecdsa-p256': ['sig', 'ES256'],
  'ecdsa-p384': ['sig', 'ES384'],
  'ecdsa-p521': ['sig', 'ES512'],
  ed25519: ['sig', undefined],
  'ml-dsa-65': ['sig', 'ML-DSA-65'],
  'ecdh-p256': ['enc', undefined],
  x25519: ['enc', undefined],
  'ml-kem-768': ['enc', 'ML-KEM-768'],
};

inEachProfile((system, { admin, alice, bob }) => {
  beforeAll(async () => {
    await alice.createVault(VAULT);
    for (const algorithm of keyAlgorithms) await makeKey(alice, VAULT, algorithm, algorithm);
  });

  const pemOf = async (name: string) => (await alice.get(at(VAULT, name)).expect(200)).body.publicKeyPem as string;

  describe('a key of each algorithm', () => {
    test.each(encrypting)('%s encrypts and decrypts', async (name) => {
      const data = name === 'fernet' ? {} : { associatedDataBase64: base64('invoice 7') };
      const sealed = await alice
        .post(`${at(VAULT, name)}:encrypt`, { plaintextBase64: base64('iban'), ...data })
        .expect(200);
      expect(sealed.body).toEqual({
        ciphertext: expect.stringMatching(name === 'fernet' ? /^gAAAA[\w-]+=*$/ : /^cardea:v1:[A-Za-z0-9+/]+=*$/),
        keyVersion: 1,
      });
      const { ciphertext } = sealed.body as { ciphertext: string };
      const opened = await alice.post(`${at(VAULT, name)}:decrypt`, { ciphertext, ...data }).expect(200);
      expect(opened.body).toEqual({ plaintextBase64: base64('iban'), keyVersion: 1 });
      expect(await recordsOf(system, sealed, opened)).toEqual([
        expect.objectContaining({ action: 'key.encrypt', decision: 'allow', rule: 'grant:owner' }),
        expect.objectContaining({ action: 'key.decrypt', decision: 'allow', rule: 'grant:owner' }),
      ]);
      const [record] = await recordsOf(system, sealed);
      expect(record!.resource).toEqual({ vault: VAULT, vaultId: expect.any(String), name, keyVersion: 1 });
      expect(JSON.stringify(record)).not.toContain(base64('iban'));
    });

    test.each(signing)('%s signs what its public half verifies', async (name) => {
      const message = Buffer.from('pay 7 to bob');
      const body = { messageBase64: message.toString('base64') };
      const signed = await alice.post(`${at(VAULT, name)}:sign`, body).expect(200);
      const { signature } = signed.body as { signature: string };
      expect(signature).toMatch(/^cardea:v1:/);
      const verdict = await alice.post(`${at(VAULT, name)}:verify`, { ...body, signature }).expect(200);
      expect(verdict.body).toEqual({ valid: true });
      const other = await alice
        .post(`${at(VAULT, name)}:verify`, { messageBase64: base64('pay 8'), signature })
        .expect(200);
      expect(other.body).toEqual({ valid: false });

      const { body: key } = await alice.get(at(VAULT, name)).expect(200);
      const pem = createPublicKey(key.publicKeyPem as string);
      expect(createPublicKey({ key: key.publicKeyJwk, format: 'jwk' }).equals(pem)).toBe(true);
      expect(key.publicKeyJwk.kid).toBe(`${name}:v1`);
      const bytes = Buffer.from(signature.replace('cardea:v1:', ''), 'base64');
      const hash = { 'ecdsa-p384': 'sha384', 'ecdsa-p521': 'sha512' }[name as string] ?? 'sha256';
      const isPlain = /^(ed25519|ml-dsa)/.test(name);
      const holds = isPlain
        ? verify(null, message, pem, bytes)
        : createVerify(hash)
            .update(message)
            .verify({ key: pem, ...(name.startsWith('rsa') ? PSS : {}) }, bytes);
      expect(holds).toBe(true);
      expect(await keyTrail(system, VAULT, 'key.sign')).toContain(`key.sign ${name} v1 grant:owner`);
    });

    test.each(authenticating)('%s makes and checks codes', async (name) => {
      const body = { messageBase64: base64('pay 7 to bob') };
      const { body: made } = await alice.post(`${at(VAULT, name)}:mac`, body).expect(200);
      expect(made).toEqual({ mac: expect.stringMatching(/^cardea:v1:/), keyVersion: 1 });
      const verdictOn = async (given: object) =>
        (await alice.post(`${at(VAULT, name)}:verifyMac`, { ...body, mac: made.mac, ...given }).expect(200)).body.valid;
      expect(await verdictOn({})).toBe(true);
      expect(await verdictOn({ messageBase64: base64('pay 8 to bob') })).toBe(false);
      expect(await verdictOn({ mac: (made.mac as string).slice(0, -8) })).toBe(false);
      expect(await verdictOn({ mac: (made.mac as string).replace('v1', 'v2') })).toBe(false);
      expect(await verdictOn({ mac: 'nothing of a key' })).toBe(false);
      await alice.patch(`${at(VAULT, name)}/versions/1`, { state: 'disabled' }).expect(200);
      expect(await verdictOn({})).toBe(false);
      await alice.patch(`${at(VAULT, name)}/versions/1`, { state: 'enabled' }).expect(200);
      expect(await verdictOn({})).toBe(true);
    });

    test('refuses what it cannot do', async () => {
      const [plain, message] = [{ plaintextBase64: 'AAAA' }, { messageBase64: 'AAAA' }];
      const refused: [string, string, object][] = [
        ['ed25519', 'encrypt', plain],
        ['hmac-sha256', 'decrypt', { ciphertext: 'cardea:v1:AAAA' }],
        ['ecdsa-p256', 'generateDataKey', { bits: 256 }],
        ['aes-256-gcm', 'sign', message],
        ['aes-256-gcm', 'mac', message],
        ['ed25519', 'verifyMac', { ...message, mac: 'cardea:v1:AAAA' }],
        ['ed25519', 'deriveSharedSecret', { peerPublicKeyPem: 'none' }],
        ['ml-kem-768', 'deriveSharedSecret', { peerPublicKeyPem: 'none' }],
        ['x25519', 'encapsulate', {}],
        ['rsa-2048', 'decapsulate', { ciphertext: 'none' }],
        ['x25519', 'sign', message],
        ['ml-kem-768', 'encrypt', plain],
        ['ed25519', 'sign', { ...message, hash: 'sha256' }],
        ['ed25519', 'sign', { ...message, format: 'der' }],
        ['ecdsa-p256', 'verify', { ...message, signature: 'cardea:v1:AAAA', scheme: 'rsassa-pss' }],
        ['rsa-2048', 'sign', { ...message, scheme: 'rsassa-pkcs1-v1_5', saltLength: 32 }],
        ['fernet', 'encrypt', { ...plain, associatedDataBase64: 'AAAA' }],
        ['aes-256-gcm', 'decrypt', { ciphertext: 'cardea:v1:AAAA', ttlSeconds: 60 }],
      ];
      for (const [name, verb, body] of refused) {
        const answer = await alice.post(`${at(VAULT, name)}:${verb}`, body);
        expect([name, verb, answer.status, answer.body.code]).toEqual([name, verb, 409, 'conflict']);
        const [record] = await recordsOf(system, answer);
        expect(record).toMatchObject({ action: `key.${verb}`, decision: 'deny', rule: 'key-algorithm' });
      }
    });

    test('shows its public half and never its material', async () => {
      const { body: list } = await alice.get(`/vaults/${VAULT}/keys`).expect(200);
      expect((list.items as { name: string }[]).map(({ name }) => name)).toEqual([...keyAlgorithms].toSorted());
      for (const name of keyAlgorithms) {
        const { body: key } = await alice.get(at(VAULT, name)).expect(200);
        const isPair = [...signing, ...sharing].includes(name);
        const common =
          'algorithm createdAt currentVersion deletionProtection exportable minDecryptVersion minEncryptVersion name publicOnly';
        const halves = isPair ? ['publicKeyJwk', 'publicKeyPem'] : [];
        expect(Object.keys(key as object).toSorted()).toEqual(
          [...common.split(' '), ...halves, 'updatedAt'].toSorted(),
        );
        if (!isPair) continue;
        expect(key.publicKeyPem).toMatch(/^-----BEGIN PUBLIC KEY-----\n/);
        for (const secret of ['d', 'p', 'q', 'priv']) expect(key.publicKeyJwk).not.toHaveProperty(secret);
        const { use, alg } = key.publicKeyJwk as { use?: string; alg?: string };
        expect([name, use, alg]).toEqual([name, ...usesOfJwk[name]!]);
      }
    });
  });

  describe('signatures', () => {
    test('have the scheme, the hash and the format that were asked for', async () => {
      const message = { messageBase64: base64('terms') };
      const ways: [string, object[]][] = [
        [
          'rsa-2048',
          [
            {},
            { hash: 'sha512' },
            { saltLength: 0 },
            { scheme: 'rsassa-pkcs1-v1_5' },
            { scheme: 'rsassa-pkcs1-v1_5', hash: 'sha384' },
          ],
        ],
        ['ecdsa-p256', [{}, { format: 'ieee-p1363' }, { hash: 'sha512' }]],
      ];
      for (const [name, terms] of ways) {
        for (const [index, own] of terms.entries()) {
          const { body } = await alice.post(`${at(VAULT, name)}:sign`, { ...message, ...own }).expect(200);
          const items = terms.map((each) => ({ ...message, ...each, signature: body.signature as string }));
          const verdicts = await alice.post(`${at(VAULT, name)}:verify`, { items }).expect(200);
          expect([name, own, verdicts.body.items]).toEqual([name, own, terms.map((_, i) => ({ valid: i === index }))]);
        }
      }
    });
  });

  describe('a digest', () => {
    test('is signed and verified as its message is, by RSA and ECDSA', async () => {
      const ways: [string, { hash?: string; scheme?: string; saltLength?: number; format?: string }[]][] = [
        ['rsa-2048', [{}, { hash: 'sha512', saltLength: 20 }, { scheme: 'rsassa-pkcs1-v1_5', hash: 'sha384' }]],
        ['ecdsa-p256', [{}, { format: 'ieee-p1363', hash: 'sha512' }]],
        ['ecdsa-p384', [{ hash: 'sha384' }]],
        ['ecdsa-p521', [{ hash: 'sha512', format: 'ieee-p1363' }]],
      ];
      for (const [name, terms] of ways) {
        for (const own of terms) {
          const hash = own.hash ?? 'sha256';
          const given = { digestBase64: digest(hash, 'terms'), ...own };
          const signed = await alice.post(`${at(VAULT, name)}:sign`, given).expect(200);
          const { signature } = signed.body as { signature: string };
          const items = [
            { ...own, messageBase64: base64('terms'), signature },
            { ...given, signature },
            { ...given, digestBase64: digest(hash, 'other terms'), signature },
          ];
          const verdicts = await alice.post(`${at(VAULT, name)}:verify`, { items }).expect(200);
          const expected = [true, true, false].map((valid) => ({ valid }));
          expect([name, own, verdicts.body.items]).toEqual([name, own, expected]);
          expect(await recordsOf(system, signed, verdicts)).toMatchObject([
            { action: 'key.sign', decision: 'allow', resource: { name, keyVersion: 1 } },
            { action: 'key.verify', decision: 'allow', resource: { name, count: 3, keyVersions: { 1: 3 } } },
          ]);
        }
      }
    });

    test('of another length, beside a message, or for another algorithm is refused', async () => {
      const given = { digestBase64: digest('sha256', 'terms') };
      const message = { messageBase64: 'AAAA' };
      const refused: [string, string, object, number, string?][] = [
        ['rsa-2048', 'sign', { ...given, hash: 'sha384' }, 400],
        ['ecdsa-p384', 'sign', given, 400],
        ['ecdsa-p256', 'sign', { ...given, ...message }, 400],
        ['ecdsa-p256', 'sign', { items: [{ ...given, ...message }] }, 400],
        ['ecdsa-p256', 'sign', {}, 400],
        ['ecdsa-p256', 'sign', { items: [{}] }, 400],
        ['ecdsa-p256', 'verify', { signature: 'none' }, 400],
        ['ed25519', 'sign', given, 409],
        ['ml-dsa-65', 'verify', { ...given, signature: 'none' }, 409],
        ['hmac-sha256', 'sign', given, 409],
      ];
      for (const [name, verb, body, status] of refused) {
        const answer = await alice.post(`${at(VAULT, name)}:${verb}`, body);
        expect([name, verb, body, answer.status]).toEqual([name, verb, body, status]);
        expect((await recordsOf(system, answer))[0]).toMatchObject({ action: `key.${verb}`, decision: 'deny' });
      }
    });
  });

  describe('a shared secret', () => {
    test.each(['ecdh-p256', 'x25519'] as const)('of %s is that of the peer, and nobody records it', async (name) => {
      const peer =
        name === 'x25519' ? generateKeyPairSync('x25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const given = { peerPublicKeyPem: publicPem(peer.publicKey) };
      const own = createPublicKey(await pemOf(name));
      const sharedSecretBase64 = diffieHellman({ privateKey: peer.privateKey, publicKey: own }).toString('base64');
      const agreed = await alice.post(`${at(VAULT, name)}:deriveSharedSecret`, given).expect(200);
      expect(agreed.body).toEqual({ sharedSecretBase64, keyVersion: 1 });
      const [record] = await recordsOf(system, agreed);
      expect(record).toMatchObject({
        action: 'key.deriveSharedSecret',
        decision: 'allow',
        resource: { keyVersion: 1 },
      });
      expect(JSON.stringify(record)).not.toContain(sharedSecretBase64);

      const others = [...sharing, 'ecdsa-p384'].filter((other) => other !== name);
      const wrong = ['none', ...(await Promise.all(others.map(pemOf)))];
      const items = [...wrong.map((peerPublicKeyPem) => ({ peerPublicKeyPem })), given];
      const batch = await alice.post(`${at(VAULT, name)}:deriveSharedSecret`, { items }).expect(200);
      expect(batch.body.items).toEqual([
        ...wrong.map(() => ({ error: { code: 'invalid_request', detail: expect.stringContaining(name) } })),
        agreed.body,
      ]);
      expect(await recordsOf(system, batch)).toMatchObject([
        { decision: 'allow', resource: { count: 5, failed: 4, keyVersions: { 1: 1 } } },
      ]);
    });

    test('of an older version is there until the version is retired or disabled', async () => {
      await makeKey(alice, VAULT, 'agreeing', 'x25519');
      const path = at(VAULT, 'agreeing');
      const given = { peerPublicKeyPem: publicPem(generateKeyPairSync('x25519').publicKey) };
      const first = await alice.post(`${path}:deriveSharedSecret`, given).expect(200);
      await alice.post(`${path}:rotate`).expect(200);
      const newest = await alice.post(`${path}:deriveSharedSecret`, given).expect(200);
      expect([newest.body.keyVersion, newest.body.sharedSecretBase64 === first.body.sharedSecretBase64]).toEqual([
        2,
        false,
      ]);
      const old = () => alice.post(`${path}:deriveSharedSecret`, { ...given, keyVersion: 1 });
      await alice.patch(path, { minEncryptVersion: 2 }).expect(200);
      expect((await old().expect(200)).body).toEqual(first.body);
      await alice.patch(`${path}/versions/1`, { state: 'disabled' }).expect(200);
      await old().expect(409);
      await alice.patch(`${path}/versions/1`, { state: 'enabled' }).expect(200);
      await alice.patch(path, { minDecryptVersion: 2 }).expect(200);
      await old().expect(409);
      await alice.post(`${path}:deriveSharedSecret`, { ...given, keyVersion: 3 }).expect(404);
      const { body } = await alice.get(`${path}:versions`).expect(200);
      expect(body.items[1].uses).toMatchObject([{ operation: 'deriveSharedSecret', last30Days: 2 }]);
      expect((await keyTrail(system, VAULT, 'key.deriveSharedSecret')).slice(-6)).toEqual([
        'key.deriveSharedSecret agreeing v1 grant:owner',
        'key.deriveSharedSecret agreeing v2 grant:owner',
        'key.deriveSharedSecret agreeing v1 grant:owner',
        'key.deriveSharedSecret! agreeing key-version-disabled',
        'key.deriveSharedSecret! agreeing key-version-retired',
        'key.deriveSharedSecret! agreeing no-such-key-version',
      ]);
    });

    test('is carried by ML-KEM, to Cardea and from it', async () => {
      await makeKey(alice, VAULT, 'carrying', 'ml-kem-768');
      const path = at(VAULT, 'carrying');
      // With an empty object, and without a body.
      for (const sent of [alice.post(`${path}:encapsulate`, {}), alice.request('post', `${path}:encapsulate`)]) {
        const made = await sent.expect(200);
        const { ciphertext, ...secret } = made.body as { ciphertext: string };
        expect(ciphertext).toMatch(/^cardea:v1:/);
        const opened = await alice.post(`${path}:decapsulate`, { ciphertext }).expect(200);
        expect(opened.body).toEqual(secret);
        expect(await recordsOf(system, made, opened)).toMatchObject([
          { action: 'key.encapsulate', decision: 'allow', resource: { keyVersion: 1 } },
          { action: 'key.decapsulate', decision: 'allow', resource: { keyVersion: 1 } },
        ]);
      }
      const own = encapsulate(createPublicKey(await pemOf('carrying')));
      const given = { ciphertext: `cardea:v1:${own.ciphertext.toString('base64')}` };
      const { body } = await alice.post(`${path}:decapsulate`, given).expect(200);
      expect(body.sharedSecretBase64).toBe(own.sharedKey.toString('base64'));

      const wrong = [given.ciphertext.replace('v1', 'v2'), given.ciphertext.slice(0, -8), 'none', ''];
      for (const each of wrong) await alice.post(`${path}:decapsulate`, { ciphertext: each }).expect(400);
      await alice.patch(`${path}/versions/1`, { state: 'disabled' }).expect(200);
      await alice.post(`${path}:decapsulate`, given).expect(400);
      const { body: batch } = await alice.post(`${path}:decapsulate`, {
        items: [...wrong, given.ciphertext].map((each) => ({ ciphertext: each })),
      });
      expect(new Set((batch.items as object[]).map((item) => JSON.stringify(item))).size).toBe(1);
      expect((await keyTrail(system, VAULT, 'key.decapsulate')).slice(-6, -1)).toEqual([
        'key.decapsulate! carrying no-such-key-version',
        'key.decapsulate! carrying not-authentic',
        'key.decapsulate! carrying not-authentic',
        'key.decapsulate! carrying not-authentic',
        'key.decapsulate! carrying key-version-disabled',
      ]);
    });
  });

  describe('a data key', () => {
    test('comes with a ciphertext that opens to it, or alone as one', async () => {
      for (const bits of [128, 256, 512]) {
        const data = { associatedDataBase64: base64('backup') };
        const { body: shown } = await alice
          .post(`${at(VAULT, 'aes-256-gcm')}:generateDataKey`, { bits, ...data })
          .expect(200);
        expect(Buffer.from(shown.plaintextBase64 as string, 'base64')).toHaveLength(bits / 8);
        const opened = await alice
          .post(`${at(VAULT, 'aes-256-gcm')}:decrypt`, { ciphertext: shown.ciphertext as string, ...data })
          .expect(200);
        expect(opened.body.plaintextBase64).toBe(shown.plaintextBase64);
      }
      const hidden = await alice
        .post(`${at(VAULT, 'rsa-2048')}:generateDataKeyWithoutPlaintext`, { bits: 512 })
        .expect(200);
      expect(Object.keys(hidden.body as object)).toEqual(['ciphertext', 'keyVersion']);
      const { ciphertext } = hidden.body as { ciphertext: string };
      const opened = await alice.post(`${at(VAULT, 'rsa-2048')}:decrypt`, { ciphertext }).expect(200);
      expect(Buffer.from(opened.body.plaintextBase64 as string, 'base64')).toHaveLength(64);
      const [record] = await recordsOf(system, hidden);
      expect(record).toMatchObject({ action: 'key.generateDataKeyWithoutPlaintext', resource: { keyVersion: 1 } });
    });
  });

  describe('versions', () => {
    const [name, path] = ['turning', at(VAULT, 'turning')];
    const decrypted = async (ciphertext: string) => (await alice.post(`${path}:decrypt`, { ciphertext })).status;
    const version = (n: number, state: string) => alice.patch(`${path}/versions/${n}`, { state });
    let first: string;

    beforeAll(async () => {
      await makeKey(alice, VAULT, name, 'aes-256-gcm');
      first = await encrypt(alice, VAULT, name, { plaintextBase64: 'AAAA' });
      for (const n of [2, 3]) {
        const { body } = await alice.post(`${path}:rotate`).expect(200);
        expect(body.currentVersion).toBe(n);
      }
    });

    test('the newest encrypts, or the one that is named, and all decrypt', async () => {
      const newest = await alice.post(`${path}:encrypt`, { plaintextBase64: 'AAAA' }).expect(200);
      expect(newest.body.keyVersion).toBe(3);
      const named = await alice.post(`${path}:encrypt`, { plaintextBase64: 'AAAA', keyVersion: 2 }).expect(200);
      expect(named.body.ciphertext).toMatch(/^cardea:v2:/);
      for (const { ciphertext } of [{ ciphertext: first }, named.body, newest.body] as { ciphertext: string }[]) {
        expect(await decrypted(ciphertext)).toBe(200);
      }
      await alice.post(`${path}:encrypt`, { plaintextBase64: 'AAAA', keyVersion: 4 }).expect(404);
    });

    test('rewrap brings a ciphertext to the newest, with its associated data or with other', async () => {
      const data = { associatedDataBase64: base64('old') };
      const old = await encrypt(alice, VAULT, name, { plaintextBase64: base64('kept'), keyVersion: 1, ...data });
      const kept = await alice.post(`${path}:rewrap`, { ciphertext: old, ...data }).expect(200);
      expect([kept.body.keyVersion, Object.keys(kept.body as object)]).toEqual([3, ['ciphertext', 'keyVersion']]);
      const next = { newAssociatedDataBase64: base64('new') };
      const other = await alice.post(`${path}:rewrap`, { ciphertext: old, ...data, ...next }).expect(200);
      const opens = async (ciphertext: unknown, text: string) =>
        (await alice.post(`${path}:decrypt`, { ciphertext: String(ciphertext), associatedDataBase64: base64(text) }))
          .body.plaintextBase64;
      expect(await opens(kept.body.ciphertext, 'old')).toBe(base64('kept'));
      expect(await opens(kept.body.ciphertext, 'new')).toBeUndefined();
      expect(await opens(other.body.ciphertext, 'new')).toBe(base64('kept'));
      expect(await opens(other.body.ciphertext, 'old')).toBeUndefined();
      await alice.post(`${path}:rewrap`, { ciphertext: old, ...next }).expect(400);
    });

    test('older than minDecryptVersion and minEncryptVersion do nothing, and the two fit together', async () => {
      await alice.patch(path, { minDecryptVersion: 2 }).expect(409);
      await alice.patch(path, { minEncryptVersion: 4 }).expect(409);
      const { body } = await alice.patch(path, { minEncryptVersion: 3, minDecryptVersion: 2 }).expect(200);
      expect([body.minEncryptVersion, body.minDecryptVersion]).toEqual([3, 2]);
      expect(await decrypted(first)).toBe(400);
      await alice.post(`${path}:encrypt`, { plaintextBase64: 'AAAA', keyVersion: 2 }).expect(409);
      await alice.patch(path, { minEncryptVersion: 1, minDecryptVersion: 1 }).expect(200);
      expect(await decrypted(first)).toBe(200);
      const entries = await admin.auditEntries({ vault: VAULT, action: 'key.change' });
      const own = entries.filter(({ event }) => event.resource?.name === name).toReversed();
      expect(own.map(({ event }) => [event.decision, event.rule, event.changes])).toEqual([
        ['deny', 'key-bounds', undefined],
        ['deny', 'key-bounds', undefined],
        ['allow', 'grant:owner', { minDecryptVersion: { from: 1, to: 2 }, minEncryptVersion: { from: 1, to: 3 } }],
        ['allow', 'grant:owner', { minDecryptVersion: { from: 2, to: 1 }, minEncryptVersion: { from: 3, to: 1 } }],
      ]);
    });

    test('that are disabled do nothing until they are enabled, and one that is destroyed is gone', async () => {
      await version(1, 'disabled').expect(200);
      expect(await decrypted(first)).toBe(400);
      await version(1, 'enabled').expect(200);
      expect(await decrypted(first)).toBe(200);
      const newest = await encrypt(alice, VAULT, name, { plaintextBase64: 'AAAA' });
      await version(3, 'disabled').expect(200);
      await alice.post(`${path}:encrypt`, { plaintextBase64: 'AAAA' }).expect(409);
      expect(await decrypted(newest)).toBe(400);
      await version(3, 'enabled').expect(200);

      const { body } = await version(1, 'destroyed').expect(200);
      expect(body).toMatchObject({ version: 1, state: 'destroyed', destroyedBy: { name: 'alice' } });
      expect(await decrypted(first)).toBe(400);
      await version(1, 'enabled').expect(410);
      await version(1, 'destroyed').expect(200);
      await version(3, 'destroyed').expect(409);
      await version(9, 'disabled').expect(404);
      const rows = await query<{ n: number }>(
        system,
        `select count(*) as n from key_version v join vault_key k on k.id = v.key_id
          where k.name = $1 and v.version = 1 and v.ciphertext is null and v.dek_version is null`,
        [name],
      );
      expect(rows).toEqual([{ n: 1 }]);
      const { body: listed } = await alice.get(`${path}:versions`).expect(200);
      expect(
        (listed.items as { version: number; state: string }[]).map(({ version, state }) => [version, state]),
      ).toEqual([
        [3, 'enabled'],
        [2, 'enabled'],
        [1, 'destroyed'],
      ]);
      const trail = await keyTrail(system, VAULT, 'key.changeVersion');
      expect(trail.filter((line) => line.includes(name))).toEqual([
        'key.changeVersion turning v1 grant:owner',
        'key.changeVersion turning v1 grant:owner',
        'key.changeVersion turning v3 grant:owner',
        'key.changeVersion turning v3 grant:owner',
        'key.changeVersion turning v1 grant:owner',
        'key.changeVersion! turning key-version-destroyed',
        'key.changeVersion turning v1 grant:owner',
        'key.changeVersion! turning key-newest',
        'key.changeVersion! turning no-such-key-version',
      ]);
    });
  });

  describe('a Fernet token', () => {
    test('of any version opens, keeps its time when it is rewrapped, and has a time to live if asked', async () => {
      await makeKey(alice, VAULT, 'tokens', 'fernet');
      const path = at(VAULT, 'tokens');
      const token = await encrypt(alice, VAULT, 'tokens', { plaintextBase64: base64('session') });
      await alice.post(`${path}:rotate`).expect(200);
      system.passTime(100_000);
      const { body } = await alice.post(`${path}:rewrap`, { ciphertext: token }).expect(200);
      expect(body.keyVersion).toBe(2);
      const versions: number[] = [];
      for (const ciphertext of [token, String(body.ciphertext)]) {
        const opened = await alice.post(`${path}:decrypt`, { ciphertext, ttlSeconds: 200 }).expect(200);
        versions.push(opened.body.keyVersion as number);
        await alice.post(`${path}:decrypt`, { ciphertext, ttlSeconds: 50 }).expect(400);
      }
      expect(versions).toEqual([1, 2]);
    });
  });

  describe('a batch', () => {
    test('has a result or an error for each item, in order, and one record with the numbers of each version', async () => {
      await makeKey(alice, VAULT, 'batch', 'aes-256-gcm');
      const path = at(VAULT, 'batch');
      await alice.post(`${path}:rotate`).expect(200);
      const plain = Array.from({ length: 5 }, (_, i) => ({ plaintextBase64: base64(`${i}`), keyVersion: (i % 2) + 1 }));
      const sealed = await alice.post(`${path}:encrypt`, { items: plain }).expect(200);
      const items = (sealed.body.items as { ciphertext: string }[]).map(({ ciphertext }) => ({ ciphertext }));
      items[3]!.ciphertext = items[3]!.ciphertext.replace('v2', 'v1');
      const opened = await alice.post(`${path}:decrypt`, { items }).expect(200);
      expect(opened.body.items).toEqual([
        { plaintextBase64: base64('0'), keyVersion: 1 },
        { plaintextBase64: base64('1'), keyVersion: 2 },
        { plaintextBase64: base64('2'), keyVersion: 1 },
        { error: { code: 'invalid_request', detail: expect.stringMatching(/^this key did not make/) } },
        { plaintextBase64: base64('4'), keyVersion: 1 },
      ]);
      const resources = (await recordsOf(system, sealed, opened)).map(({ resource }) => resource);
      const common = { vault: VAULT, vaultId: expect.any(String), name: 'batch', count: 5 };
      expect(resources).toEqual([
        { ...common, keyVersions: { 1: 3, 2: 2 } },
        { ...common, failed: 1, keyVersions: { 1: 3, 2: 1 } },
      ]);

      const refused = await alice.post(`${path}:decrypt`, { items: [{ ciphertext: 'none' }] }).expect(200);
      expect(await recordsOf(system, refused)).toMatchObject([
        { decision: 'deny', reason: 'invalid_request', resource: { count: 1, failed: 1, keyVersions: {} } },
      ]);
    });

    test('has up to 500 items', async () => {
      const items = Array.from({ length: 501 }, () => ({ messageBase64: 'AAAA' }));
      const path = `${at(VAULT, 'ed25519')}:sign`;
      await alice.post(path, { items }).expect(400);
      await alice.post(path, { items: [] }).expect(400);
      const { body } = await alice.post(path, { items: items.slice(1) }).expect(200);
      expect(body.items).toHaveLength(500);
    });
  });

  describe('a request', () => {
    test.each([
      ['both an item and a batch', 'encrypt', { plaintextBase64: 'AAAA', items: [{ plaintextBase64: 'AAAA' }] }, 400],
      ['nothing', 'encrypt', {}, 400],
      ['bytes that are not base64', 'encrypt', { plaintextBase64: 'AAA' }, 400],
      ['a nonce of its own', 'encrypt', { plaintextBase64: 'AAAA', nonceBase64: 'AAAA' }, 400],
      ['64 KiB', 'encrypt', { plaintextBase64: Buffer.alloc(65_536).toString('base64') }, 200],
      ['a byte more', 'encrypt', { plaintextBase64: Buffer.alloc(65_537).toString('base64') }, 413],
      [
        'a byte more in a batch',
        'encrypt',
        { items: [{ plaintextBase64: Buffer.alloc(65_537).toString('base64') }] },
        413,
      ],
      ['data keys of another length', 'generateDataKey', { bits: 192 }, 400],
      ['no version', 'encrypt', { plaintextBase64: 'AAAA', keyVersion: 0 }, 400],
    ])('with %s: %s', async (_what, verb, body, status) => {
      await alice.post(`${at(VAULT, 'aes-256-gcm')}:${verb}`, body).expect(status);
    });

    test('for more than an RSA key encrypts is refused and says so', async () => {
      const { body } = await alice
        .post(`${at(VAULT, 'rsa-2048')}:encrypt`, { plaintextBase64: Buffer.alloc(191).toString('base64') })
        .expect(413);
      expect(body.detail).toContain('at most 190 bytes');
    });

    test.each([
      ['aes-256-gcm', 'generateDataKey', { bits: 192 }, 'body.bits: must be one of 128, 256, 512'],
      [
        'rsa-2048',
        'sign',
        { messageBase64: 'AAAA', digestBase64: 'AAAA' },
        'body.messageBase64: cannot be combined with digestBase64',
      ],
    ])('to %s:%s that asks for what there is not says what there is', async (name, verb, body, detail) => {
      const refused = await alice.post(`${at(VAULT, name)}:${verb}`, body).expect(400);
      expect(refused.body.detail).toBe(detail);
    });

    test.each(['.', '..', 'a/b', 'a:b', 'a b', 'é', ''])('for a key with the name %j is refused', async (name) => {
      await alice.post(`/vaults/${VAULT}/keys`, { name, algorithm: 'ed25519' }).expect(400);
    });

    test('for a key that exists, or does not, is refused', async () => {
      await alice.post(`/vaults/${VAULT}/keys`, { name: 'ed25519', algorithm: 'aes-128-gcm' }).expect(409);
      expect((await alice.get(at(VAULT, 'ed25519'))).body.algorithm).toBe('ed25519');
      for (const verb of ['encrypt', 'rotate']) {
        await alice
          .post(`${at(VAULT, 'nothing')}:${verb}`, verb === 'encrypt' ? { plaintextBase64: 'AAAA' } : {})
          .expect(404);
      }
      await alice.get(at(VAULT, 'nothing')).expect(404);
      await alice.get(`${at(VAULT, 'nothing')}:versions`).expect(404);
      await alice.patch(at(VAULT, 'nothing'), {}).expect(404);
      expect((await keyTrail(system, VAULT)).filter((line) => line.includes('nothing'))).toEqual([
        'key.encrypt! nothing no-such-key',
        'key.rotate! nothing no-such-key',
        'key.read! nothing no-such-key',
        'key.versions! nothing no-such-key',
        'key.change! nothing no-such-key',
      ]);
    });
  });

  describe('rights', () => {
    const path = at(VAULT, 'aes-256-gcm');
    const granted = (keys: string[], more = {}) => grant(alice, VAULT, 'user:bob', { secrets: [], keys, ...more });

    test('to encrypt are not enough to give a ciphertext other associated data', async () => {
      await granted(['encrypt']);
      const ciphertext = await encrypt(bob, VAULT, 'aes-256-gcm', { plaintextBase64: 'AAAA' });
      await bob.post(`${path}:rewrap`, { ciphertext }).expect(200);
      const next = { ciphertext, newAssociatedDataBase64: 'AAAA' };
      await bob.post(`${path}:rewrap`, next).expect(403);
      await granted(['encrypt', 'decrypt']);
      await bob.post(`${path}:rewrap`, next).expect(200);
      expect((await keyTrail(system, VAULT, 'key.rewrap')).slice(-3)).toEqual([
        'key.rewrap aes-256-gcm v1 grant:key.encrypt',
        'key.rewrap! aes-256-gcm grant:key.decrypt',
        'key.rewrap aes-256-gcm v1 grant:key.encrypt, grant:key.decrypt',
      ]);
    });

    test('to manage are not enough to destroy', async () => {
      await makeKey(alice, VAULT, 'precious', 'aes-256-gcm');
      await alice.post(`${at(VAULT, 'precious')}:rotate`).expect(200);
      const destroy = () => bob.patch(`${at(VAULT, 'precious')}/versions/1`, { state: 'destroyed' });
      await granted(['manage']);
      await bob.patch(`${at(VAULT, 'precious')}/versions/1`, { state: 'disabled' }).expect(200);
      await destroy().expect(403);
      await granted(['delete']);
      await destroy().expect(403);
      await granted(['manage', 'delete']);
      await destroy().expect(200);
    });

    test('on keys are independent of those on secrets, and so are their limits', async () => {
      await alice.putSecret(VAULT, 'db/password', 'hunter2');
      await granted(['encrypt', 'list', 'manage']);
      await bob.get(`/vaults/${VAULT}/secrets/db/password`).expect(403);
      const read = { secrets: ['read', 'list'], pathPrefix: 'db' };
      await granted([], read);
      await bob.post(`${path}:encrypt`, { plaintextBase64: 'AAAA' }).expect(403);
      await bob.get(`/vaults/${VAULT}/secrets/db/password`).expect(200);

      await granted(['encrypt', 'list', 'manage'], { ...read, keyPrefix: 'aes-1' });
      await bob.get(`/vaults/${VAULT}/secrets/db/password`).expect(200);
      await bob.post(`${at(VAULT, 'aes-128-gcm')}:encrypt`, { plaintextBase64: 'AAAA' }).expect(200);
      const hidden = await bob.post(`${path}:encrypt`, { plaintextBase64: 'AAAA' }).expect(404);
      const absent = await bob.post(`${at(VAULT, 'absent')}:encrypt`, { plaintextBase64: 'AAAA' }).expect(404);
      expect(hidden.body.detail).toBe(absent.body.detail);
      await bob.post(`/vaults/${VAULT}/keys`, { name: 'other', algorithm: 'ed25519' }).expect(404);
      const { body } = await bob.get(`/vaults/${VAULT}/keys`).expect(200);
      expect((body.items as { name: string }[]).map(({ name }) => name)).toEqual(['aes-128-gcm']);
      const [shown] = ((await alice.get(`/vaults/${VAULT}/grants`).expect(200)).body.items as object[]).slice(-1);
      expect(shown).toMatchObject({ pathPrefix: 'db', keyPrefix: 'aes-1' });
      expect((await recordsOf(system, hidden))[0]).toMatchObject({ decision: 'deny', rule: 'grant:key-prefix' });
      await grant(alice, VAULT, 'user:bob', { owner: true, keyPrefix: 'aes-1' }).expect(400);
    });

    test('of bob are gone once they are withdrawn', async () => {
      await granted(['encrypt']);
      await bob.post(`${path}:encrypt`, { plaintextBase64: 'AAAA' }).expect(200);
      await alice.delete(`/vaults/${VAULT}/grants/user:bob`).expect(204);
      await bob.post(`${path}:encrypt`, { plaintextBase64: 'AAAA' }).expect(404);
    });
  });

  describe('random bytes', () => {
    test('are as many as were asked for, up to 64 KiB, and others each time', async () => {
      const make = async (bytes: number) =>
        (await bob.post('/random', { bytes }).expect(200)).body.bytesBase64 as string;
      for (const bytes of [1, 32, 65_536]) expect(Buffer.from(await make(bytes), 'base64')).toHaveLength(bytes);
      expect(await make(32)).not.toBe(await make(32));
      await bob.post('/random', { bytes: 65_537 }).expect(400);
      await bob.post('/random', { bytes: 0 }).expect(400);
      const made = await bob.post('/random', { bytes: 16 }).expect(200);
      expect(await recordsOf(system, made)).toMatchObject([{ action: 'random.generate', rule: 'signed-in' }]);
    });
  });
});

const publicPem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' });

const digest = (hash: string, text: string) => createHash(hash).update(text).digest('base64');

// The salt is as long as the hash.
const PSS = { padding: 6, saltLength: -1 };
