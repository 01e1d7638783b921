import { createDecipheriv, createHmac, createPublicKey, randomBytes } from 'node:crypto';
import { keyAlgorithms } from '@cardea/contracts/keys/key-shapes';
import { wrapKey } from '@cardea/crypto/keys/key-wrap';
import { inEachProfile } from '@cardea/testkit/use-system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { grant } from '../access/granting.ts';
import { recordsOf } from '../identity/identity.ts';
import { rotate } from '../rotation/ground.ts';
import { query } from '../secrets/ground.ts';
import { at, base64, encrypt, keyTrail, makeKey } from './ground.ts';

const VAULT = 'derived';
const derivation = 'hkdf-sha256';
const symmetric = keyAlgorithms.filter((name) => /^(aes|chacha|fernet|hmac)/.test(name));
const encrypting = symmetric.filter((name) => !name.startsWith('hmac'));
const authenticating = symmetric.filter((name) => name.startsWith('hmac'));
const [seven, eight] = [{ contextBase64: base64('customer 7') }, { contextBase64: base64('customer 8') }];
const plain = { plaintextBase64: base64('iban') };
const message = { messageBase64: base64('pay 7 to bob') };

inEachProfile((system, { admin, alice, bob }) => {
  beforeAll(async () => {
    await alice.createVault(VAULT);
    await alice.createVault('elsewhere');
    for (const algorithm of symmetric) {
      const made = await alice.post(`/vaults/${VAULT}/keys`, { name: algorithm, algorithm, derivation }).expect(201);
      expect(made.body.derivation).toBe(derivation);
      const [record] = await recordsOf(system, made);
      expect(record).toMatchObject({ action: 'key.create', changes: { derivation: { to: derivation } } });
    }
    await makeKey(alice, VAULT, 'plain', 'aes-256-gcm');
  });

  const call = (name: string, verb: string, body: object) => alice.post(`${at(VAULT, name)}:${verb}`, body);

  /** Wraps a key for one import into `elsewhere`. */
  const wrapped = async (key: Uint8Array) => {
    const { body: job } = await alice.post('/vaults/elsewhere/keys:importJob').expect(201);
    const bytes = await wrapKey(createPublicKey(job.wrappingKeyPem as string), key);
    const wrappedKeyBase64 = Buffer.from(bytes).toString('base64');
    return { algorithm: 'aes-256-gcm', importToken: job.importToken as string, wrappedKeyBase64 };
  };
  const importAs = (name: string, body: object) => alice.post(`${at('elsewhere', name)}:import`, body);

  describe('a key that derives others', () => {
    test.each(encrypting)('of %s opens with the context that sealed, and with no other', async (name) => {
      const sealed = await call(name, 'encrypt', { ...plain, ...seven }).expect(200);
      const { ciphertext } = sealed.body as { ciphertext: string };
      const opened = await call(name, 'decrypt', { ciphertext, ...seven }).expect(200);
      expect(opened.body).toEqual({ ...plain, keyVersion: 1 });
      const other = await call(name, 'decrypt', { ciphertext, ...eight }).expect(400);
      const damaged = await call(name, 'decrypt', { ciphertext: `${ciphertext.slice(0, -8)}AAAAAAA=`, ...seven });
      expect([damaged.status, damaged.body.detail]).toEqual([400, other.body.detail]);
      expect(await recordsOf(system, sealed, opened, other)).toMatchObject([
        { action: 'key.encrypt', decision: 'allow', rule: 'grant:owner', resource: { name, keyVersion: 1 } },
        { action: 'key.decrypt', decision: 'allow', rule: 'grant:owner', resource: { name, keyVersion: 1 } },
        { action: 'key.decrypt', decision: 'deny', rule: 'not-authentic' },
      ]);
      const [record] = await recordsOf(system, sealed);
      expect(JSON.stringify(record)).not.toContain(seven.contextBase64);
    });

    test.each(authenticating)('of %s makes another code and another JWS for each context', async (name) => {
      const made = await call(name, 'mac', { ...message, ...seven }).expect(200);
      const { mac } = made.body as { mac: string };
      expect((await call(name, 'mac', { ...message, ...eight })).body.mac).not.toBe(mac);
      const verdicts = await call(name, 'verifyMac', {
        items: [seven, eight].map((context) => ({ ...message, ...context, mac })),
      }).expect(200);
      expect(verdicts.body.items).toEqual([{ valid: true }, { valid: false }]);

      const { body } = await call(name, 'signJws', { payloadBase64: base64('{}'), ...seven }).expect(200);
      const items = [seven, eight].map((context) => ({ jws: body.jws as string, ...context }));
      expect((await call(name, 'verifyJws', { items }).expect(200)).body.items).toEqual([
        { valid: true },
        { valid: false },
      ]);
    });

    test('makes data keys, and rewraps under the same context alone', async () => {
      const name = 'aes-256-gcm';
      const path = at(VAULT, name);
      const { body: made } = await call(name, 'generateDataKey', { bits: 256, ...seven }).expect(200);
      const { body: hidden } = await call(name, 'generateDataKeyWithoutPlaintext', { bits: 256, ...seven }).expect(200);
      await alice.post(`${path}:rotate`).expect(200);
      const rewrapped = await call(name, 'rewrap', { ciphertext: made.ciphertext, ...seven }).expect(200);
      expect(rewrapped.body.keyVersion).toBe(2);
      const { ciphertext } = rewrapped.body as { ciphertext: string };
      expect((await call(name, 'decrypt', { ciphertext, ...seven }).expect(200)).body).toEqual({
        plaintextBase64: made.plaintextBase64,
        keyVersion: 2,
      });
      await call(name, 'decrypt', { ciphertext: hidden.ciphertext, ...seven }).expect(200);
      await call(name, 'decrypt', { ciphertext, ...eight }).expect(400);
      await call(name, 'rewrap', { ciphertext: made.ciphertext, ...eight }).expect(400);
      const data = { newAssociatedDataBase64: base64('invoice 7') };
      const moved = await call(name, 'rewrap', { ciphertext, ...seven, ...data }).expect(200);
      const told = { ciphertext: moved.body.ciphertext as string, associatedDataBase64: data.newAssociatedDataBase64 };
      await call(name, 'decrypt', { ...told, ...seven }).expect(200);
      expect((await keyTrail(system, VAULT, 'key.rewrap')).slice(-3)).toEqual([
        `key.rewrap ${name} v2 grant:owner`,
        `key.rewrap! ${name} not-authentic`,
        `key.rewrap ${name} v2 grant:owner`,
      ]);
    });

    test('takes a context for each item of a batch, and refuses the items without one', async () => {
      const name = 'chacha20-poly1305';
      const sealed = await call(name, 'encrypt', { items: [seven, eight, {}].map((own) => ({ ...plain, ...own })) });
      const made = sealed.body.items as { ciphertext: string; error?: object }[];
      const missing = { error: { code: 'invalid_request', detail: 'the key derives keys: give contextBase64' } };
      expect(made[2]).toEqual(missing);
      const [first, second] = made.map(({ ciphertext }) => ({ ciphertext }));
      const items = [{ ...first, ...seven }, { ...second, ...eight }, { ...second, ...seven }, first];
      const opened = await call(name, 'decrypt', { items }).expect(200);
      expect(opened.body.items).toEqual([
        { ...plain, keyVersion: 1 },
        { ...plain, keyVersion: 1 },
        { error: { code: 'invalid_request', detail: expect.stringMatching(/^this key did not make/) } },
        missing,
      ]);
      expect((await recordsOf(system, sealed, opened)).map(({ resource }) => resource)).toMatchObject([
        { count: 3, failed: 1, keyVersions: { 1: 2 } },
        { count: 4, failed: 2, keyVersions: { 1: 2 } },
      ]);
    });

    test('keeps its rights apart: who encrypts under a context does not decrypt', async () => {
      await grant(alice, VAULT, 'user:bob', { keys: ['encrypt'] });
      const path = at(VAULT, 'aes-128-gcm');
      const ciphertext = await encrypt(bob, VAULT, 'aes-128-gcm', { ...plain, ...seven });
      const refused = await bob.post(`${path}:decrypt`, { ciphertext, ...seven }).expect(403);
      await bob.post(`${path}:rewrap`, { ciphertext, ...seven }).expect(200);
      expect(await recordsOf(system, refused)).toMatchObject([{ decision: 'deny', rule: 'grant:key.decrypt' }]);
    });

    test('shows it, and goes through a rotation of the DEK', async () => {
      const ciphertext = await encrypt(alice, VAULT, 'aes-128-gcm', { ...plain, ...seven });
      const shown = await rotate(system, admin, { kind: 'dek', vault: VAULT });
      expect(shown).toMatchObject({ state: 'finished', failed: 0 });
      await call('aes-128-gcm', 'decrypt', { ciphertext, ...seven }).expect(200);
      expect((await alice.get(at(VAULT, 'aes-128-gcm')).expect(200)).body.derivation).toBe(derivation);
      expect((await alice.get(at(VAULT, 'plain')).expect(200)).body).not.toHaveProperty('derivation');
    });
  });

  describe('a context', () => {
    test.each(symmetric)('that is missing, empty or too long is refused by %s, and says so', async (name) => {
      const verbs = name.startsWith('hmac')
        ? { mac: message, verifyMac: { ...message, mac: 'cardea:v1:AAAA' } }
        : { encrypt: plain, decrypt: { ciphertext: 'cardea:v1:AAAA' }, generateDataKey: { bits: 128 } };
      for (const [verb, body] of Object.entries(verbs)) {
        const answer = await call(name, verb, body);
        expect([verb, answer.status, answer.body.detail]).toEqual([
          verb,
          400,
          'the key derives keys: give contextBase64',
        ]);
        expect(await recordsOf(system, answer)).toMatchObject([{ decision: 'deny', rule: 'key-context' }]);
        await call(name, verb, { ...body, contextBase64: '' }).expect(400);
        await call(name, verb, { ...body, contextBase64: Buffer.alloc(1_024).toString('base64') }).expect(
          verb === 'decrypt' ? 400 : 200,
        );
        await call(name, verb, { ...body, contextBase64: Buffer.alloc(1_025).toString('base64') }).expect(413);
      }
    });

    test('that is given to a key without derivation is refused, and says so', async () => {
      await makeKey(alice, VAULT, 'plain-mac', 'hmac-sha256');
      await makeKey(alice, VAULT, 'plain-rsa', 'rsa-2048');
      const given: [string, string, object][] = [
        ['plain', 'encrypt', plain],
        ['plain', 'decrypt', { ciphertext: await encrypt(alice, VAULT, 'plain', plain) }],
        ['plain', 'rewrap', { ciphertext: 'cardea:v1:AAAA' }],
        ['plain', 'generateDataKeyWithoutPlaintext', { bits: 128 }],
        ['plain-mac', 'mac', message],
        ['plain-mac', 'signJws', { payloadBase64: 'AAAA' }],
        ['plain-rsa', 'encrypt', plain],
        ['plain-rsa', 'signJws', { payloadBase64: 'AAAA' }],
      ];
      for (const [name, verb, body] of given) {
        const answer = await call(name, verb, { ...body, ...seven });
        expect([name, verb, answer.status, answer.body.detail]).toEqual([
          name,
          verb,
          400,
          'the key derives no keys: leave contextBase64 out',
        ]);
        expect(await recordsOf(system, answer)).toMatchObject([{ decision: 'deny', rule: 'key-context' }]);
      }
      await call('plain-rsa', 'sign', { ...message, ...seven }).expect(400);
    });

    test('is bound into the stored key: who edits the row makes nothing of it', async () => {
      for (const [name, changed, given] of [
        ['plain', `'${derivation}'`, seven],
        ['chacha20-poly1305', 'null', {}],
      ] as const) {
        const set = (value: string) =>
          query(system, `update vault_key set derivation = ${value} where name = '${name}'`);
        const [before] = await query<{ derivation: string | null }>(
          system,
          `select derivation from vault_key where name = '${name}'`,
        );
        await set(changed);
        const refused = await call(name, 'encrypt', { ...plain, ...given }).expect(500);
        expect(await recordsOf(system, refused)).toMatchObject([
          { decision: 'deny', rule: 'integrity', suspicious: 'integrity_failure' },
        ]);
        await set(before!.derivation === null ? 'null' : `'${before!.derivation}'`);
        await call(name, 'encrypt', { ...plain, ...(name === 'plain' ? {} : seven) }).expect(200);
      }
    });
  });

  test.each(keyAlgorithms.filter((name) => !symmetric.includes(name)))(
    'a key of %s derives none',
    async (algorithm) => {
      const name = `none-${algorithm}`;
      const refused = await alice.post(`/vaults/${VAULT}/keys`, { name, algorithm, derivation }).expect(400);
      expect(refused.body.detail).toContain(`a key of ${algorithm} derives no keys`);
      await alice.get(at(VAULT, name)).expect(404);
    },
  );

  describe('an import', () => {
    test('derives what any other program derives from the same key', async () => {
      const key = randomBytes(32);
      const imported = await importAs('known', { ...(await wrapped(key)), derivation }).expect(201);
      expect(imported.body.derivation).toBe(derivation);
      expect(await recordsOf(system, imported)).toMatchObject([
        { action: 'key.import', changes: { derivation: { to: derivation } } },
      ]);
      const sealed = await encrypt(alice, 'elsewhere', 'known', { ...plain, ...seven });
      const bytes = Buffer.from(sealed.replace('cardea:v1:', ''), 'base64');
      // RFC 5869 section 2, by HMAC alone.
      const extracted = createHmac('sha256', Buffer.alloc(32)).update(key).digest();
      const derived = createHmac('sha256', extracted).update('customer 7\x01').digest();
      const decipher = createDecipheriv('aes-256-gcm', derived, bytes.subarray(0, 12)).setAuthTag(bytes.subarray(-16));
      expect(Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString()).toBe('iban');
    });

    test('of another version says the derivation of the key, or is refused', async () => {
      await makeKey(alice, 'elsewhere', 'direct', 'aes-256-gcm');
      const body = await wrapped(randomBytes(32));
      const refused = [
        await importAs('known', body).expect(409),
        await importAs('direct', { ...body, derivation }).expect(409),
      ];
      expect(await recordsOf(system, ...refused)).toMatchObject([
        { action: 'key.import', decision: 'deny', rule: 'key-context' },
        { action: 'key.import', decision: 'deny', rule: 'key-context' },
      ]);
      await importAs('wrong', { ...body, algorithm: 'ed25519', derivation }).expect(400);
      const taken = await importAs('known', { ...body, derivation }).expect(200);
      expect(taken.body.currentVersion).toBe(2);
    });
  });
});
