import { execFile, execFileSync } from 'node:child_process';
import { constants, createHash, generateKeyPairSync, publicEncrypt } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { useSystem } from '@cardea/testkit/use-system';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { at, base64, makeKey } from './ground.ts';

// Other programs take what Cardea makes, and Cardea takes what they make: Python's package cryptography, which is installed
// into a folder of this run, and the command openssl. For jose see jws.test.ts, for Fernet packages/crypto.
const run = promisify(execFile);
const VAULT = 'peers';
const MESSAGE = base64('pay 7 to bob');
const [, { alice }] = useSystem('mini');
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cardea-peers-'));
  await run('python3', ['-m', 'venv', join(folder, 'venv')]);
  await run(join(folder, 'venv/bin/pip'), ['install', '--quiet', 'cryptography==50.0.2']);
  await alice.createVault(VAULT);
  for (const name of ['rsa-2048', 'ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521', 'ed25519', 'ml-dsa-65']) {
    await makeKey(alice, VAULT, name, name);
  }
  for (const name of ['x25519', 'ecdh-p256', 'ml-kem-768']) await makeKey(alice, VAULT, name, name);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Does calls in Python; see `peer.py`. */
function inPython<T>(calls: object[]): T[] {
  const script = fileURLToPath(new URL('peer.py', import.meta.url));
  const input = JSON.stringify(calls);
  return JSON.parse(execFileSync(join(folder, 'venv/bin/python'), [script], { input }).toString()) as T[];
}

async function pemOf(name: string): Promise<string> {
  return (await alice.get(at(VAULT, name)).expect(200)).body.publicKeyPem as string;
}

async function call<T>(name: string, verb: string, body: object): Promise<T> {
  return (await alice.post(`${at(VAULT, name)}:${verb}`, body).expect(200)).body as T;
}

const bare = (made: string) => made.replace('cardea:v1:', '');

interface Way {
  algorithm: string;
  hash?: string;
  scheme?: string;
  saltLength?: number;
}

const ways: Way[] = [
  { algorithm: 'rsa-2048', hash: 'sha256', saltLength: 32 },
  { algorithm: 'rsa-2048', hash: 'sha512', saltLength: 20 },
  { algorithm: 'rsa-2048', hash: 'sha384', scheme: 'rsassa-pkcs1-v1_5' },
  { algorithm: 'ecdsa-p256', hash: 'sha256' },
  { algorithm: 'ecdsa-p384', hash: 'sha384' },
  { algorithm: 'ecdsa-p521', hash: 'sha512' },
  { algorithm: 'ed25519' },
  { algorithm: 'ml-dsa-65' },
];

const signed = async ({ algorithm, ...terms }: Way, given: object) =>
  bare((await call<{ signature: string }>(algorithm, 'sign', { ...given, ...terms })).signature);

describe('signatures', () => {
  test('of messages and of digests hold for Python, and for nothing else', async () => {
    const calls: object[] = [];
    for (const terms of ways) {
      const common = { do: 'holds', pem: await pemOf(terms.algorithm), terms };
      const signature = await signed(terms, { messageBase64: MESSAGE });
      calls.push({ ...common, message: MESSAGE, signature }, { ...common, message: base64('pay 8'), signature });
      if (terms.hash === undefined) continue;
      const message = createHash(terms.hash).update('pay 7 to bob').digest('base64');
      const ofDigest = { message, signature: await signed(terms, { digestBase64: message }) };
      calls.push({ ...common, ...ofDigest, terms: { ...terms, isDigest: true } });
      calls.push({ ...common, ...ofDigest, message: MESSAGE });
    }
    const expected = ways.flatMap(({ hash }) => (hash === undefined ? [true, false] : [true, false, true, true]));
    expect(inPython(calls)).toEqual(expected);
  });

  test('hold for openssl', async () => {
    const [message, signature, pem] = ['message', 'signature', 'pem'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(message, 'pay 7 to bob');
    for (const terms of ways) {
      if (terms.hash === undefined) continue;
      writeFileSync(pem, await pemOf(terms.algorithm));
      writeFileSync(signature, await signed(terms, { messageBase64: MESSAGE }), 'base64');
      const { saltLength } = terms;
      const pss = saltLength === undefined ? [] : ['rsa_padding_mode:pss', `rsa_pss_saltlen:${saltLength}`];
      const options = pss.flatMap((option) => ['-sigopt', option]);
      const words = ['dgst', `-${terms.hash}`, '-verify', pem, '-signature', signature, ...options, message];
      expect([terms, (await run('openssl', words)).stdout.trim()]).toEqual([terms, 'Verified OK']);
    }
  });
});

describe('what a peer has made with a public half', () => {
  test('by RSAES-OAEP opens, with its label', async () => {
    const label = base64('invoice 7');
    const [made] = inPython<string>([{ do: 'oaep', pem: await pemOf('rsa-2048'), message: MESSAGE, label }]);
    const body = { ciphertext: `cardea:v1:${made}`, associatedDataBase64: label };
    expect(await call('rsa-2048', 'decrypt', body)).toEqual({ plaintextBase64: MESSAGE, keyVersion: 1 });

    const [pem, plaintext] = [join(folder, 'rsa.pem'), join(folder, 'plaintext')];
    writeFileSync(pem, await pemOf('rsa-2048'));
    writeFileSync(plaintext, 'pay 7 to bob');
    const options = ['rsa_padding_mode:oaep', 'rsa_oaep_md:sha256', 'rsa_mgf1_md:sha256'];
    const words = ['pkeyutl', '-encrypt', '-pubin', '-inkey', pem, '-in', plaintext];
    const sealed = execFileSync('openssl', [...words, ...options.flatMap((option) => ['-pkeyopt', option])]);
    const given = { ciphertext: `cardea:v1:${sealed.toString('base64')}` };
    expect(await call('rsa-2048', 'decrypt', given)).toEqual({ plaintextBase64: MESSAGE, keyVersion: 1 });
  });

  test.each(['x25519', 'ecdh-p256'])('of %s is the same secret', async (name) => {
    const [peer] = inPython<{ secret: string; pem: string }>([{ do: 'agree', pem: await pemOf(name) }]);
    const agreed = await call(name, 'deriveSharedSecret', { peerPublicKeyPem: peer!.pem });
    expect(agreed).toEqual({ sharedSecretBase64: peer!.secret, keyVersion: 1 });
  });

  test('by ML-KEM carries the same secret', async () => {
    const pem = await pemOf('ml-kem-768');
    const [peer] = inPython<{ secret: string; ciphertext: string }>([{ do: 'encapsulate', pem }]);
    const opened = await call('ml-kem-768', 'decapsulate', { ciphertext: `cardea:v1:${peer!.ciphertext}` });
    expect(opened).toEqual({ sharedSecretBase64: peer!.secret, keyVersion: 1 });
  });
});

describe('a key pair of Python', () => {
  test('signs what Cardea verifies with the public half', async () => {
    const calls = ways.map((terms) => ({ do: 'sign', terms, message: MESSAGE }));
    const made = inPython<{ pem: string; signature: string }>(calls);
    for (const [index, { algorithm, ...terms }] of ways.entries()) {
      const { pem: publicKeyPem, signature } = made[index]!;
      const name = `of-python-${index}`;
      await alice.post(`${at(VAULT, name)}:import`, { algorithm, publicKeyPem }).expect(201);
      const items = [MESSAGE, base64('pay 8')].map((messageBase64) => ({
        ...terms,
        messageBase64,
        signature: `cardea:v1:${signature}`,
      }));
      const verdicts = await call<{ items: object[] }>(name, 'verify', { items });
      expect([algorithm, terms, verdicts.items]).toEqual([algorithm, terms, [{ valid: true }, { valid: false }]]);
    }
  });

  test('opens what Cardea has encrypted for it', async () => {
    const { privatePem, publicPem: publicKeyPem } = rsaPair();
    await alice.post(`${at(VAULT, 'for-python')}:import`, { algorithm: 'rsa-2048', publicKeyPem }).expect(201);
    const given = { plaintextBase64: MESSAGE, associatedDataBase64: base64('invoice 7') };
    const { ciphertext } = await call<{ ciphertext: string }>('for-python', 'encrypt', given);
    const label = given.associatedDataBase64;
    const calls = [{ do: 'open_oaep', privatePem, ciphertext: bare(ciphertext), label }];
    expect(inPython(calls)).toEqual([MESSAGE]);
  });
});

describe('an exported key', () => {
  const data = base64('invoice 7');
  const context = base64('customer 7');
  const derived = { derivation: 'hkdf-sha256' };
  test.each([
    ['aes-128-gcm', {}],
    ['aes-256-gcm', {}],
    ['aes-256-gcm', derived],
    ['chacha20-poly1305', {}],
    ['chacha20-poly1305', derived],
    ['fernet', {}],
    ['fernet', derived],
    ['hmac-sha384', {}],
    ['hmac-sha512', derived],
  ] as const)('of %s %j does the same in Python as in Cardea, both ways', async (algorithm, own) => {
    const { privatePem, publicPem: publicKeyPem } = rsaPair();
    const name = `out-${algorithm}-${Object.keys(own).length}`;
    await alice.post(`/vaults/${VAULT}/keys`, { name, algorithm, exportable: true, ...own }).expect(201);
    const { wrappedKeyBase64: wrapped } = await call<{ wrappedKeyBase64: string }>(name, 'export', { publicKeyPem });
    const common = {
      ...(own === derived ? { contextBase64: context } : {}),
      ...(/^(aes|chacha)/.test(algorithm) ? { associatedDataBase64: data } : {}),
    };
    const inOther = { do: 'use_secret', algorithm, privatePem, wrapped, message: MESSAGE, data };
    const given = { ...inOther, ...(own === derived ? { context } : {}) };
    if (algorithm.startsWith('hmac')) {
      const { mac } = await call<{ mac: string }>(name, 'mac', { messageBase64: MESSAGE, ...common });
      expect(inPython([{ ...given, made: bare(mac) }])).toEqual([{ opened: MESSAGE, made: bare(mac) }]);
      return;
    }
    const { ciphertext } = await call<{ ciphertext: string }>(name, 'encrypt', { plaintextBase64: MESSAGE, ...common });
    const [other] = inPython<{ opened: string; made: string }>([{ ...given, made: bare(ciphertext) }]);
    expect(other!.opened).toBe(MESSAGE);
    const made = algorithm === 'fernet' ? other!.made : `cardea:v1:${other!.made}`;
    const opened = await call(name, 'decrypt', { ciphertext: made, ...common });
    expect(opened).toEqual({ plaintextBase64: MESSAGE, keyVersion: 1 });
  });
});

test('what was encrypted by RSAES-PKCS1-v1_5 does not open', async () => {
  const key = { key: await pemOf('rsa-2048'), padding: constants.RSA_PKCS1_PADDING };
  const ciphertext = `cardea:v1:${publicEncrypt(key, Buffer.from('pay 7 to bob')).toString('base64')}`;
  await alice.post(`${at(VAULT, 'rsa-2048')}:decrypt`, { ciphertext }).expect(400);
  await alice.post(`${at(VAULT, 'rsa-2048')}:decrypt`, { ciphertext, scheme: 'rsaes-pkcs1-v1_5' }).expect(400);
});

function rsaPair(): { privatePem: string; publicPem: string } {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }),
  };
}
