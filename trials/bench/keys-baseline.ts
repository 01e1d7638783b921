import { createCipheriv, createDecipheriv, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { hmacKey } from '@cardea/crypto/token-key';
import jsonwebtoken from 'jsonwebtoken';

// The baseline of `bench keys`: a bare node:http server that verifies one token with jsonwebtoken and does what the path says
// with node:crypto, for one item or for each of a batch. It has one key of each algorithm in memory, and records nothing.

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const tokenKey = hmacKey(new Uint8Array(32).fill(7));
const aesKey = randomBytes(32);
const [signAsync, verifyAsync] = [promisify(sign), promisify(verify)];

interface Pair {
  hash: string | null;
  privateKey: KeyObject;
  publicKey: KeyObject;
}

const pairs: Record<string, Pair> = {
  ed25519: { hash: null, ...generateKeyPairSync('ed25519') },
  'ecdsa-p256': { hash: 'sha256', ...generateKeyPairSync('ec', { namedCurve: 'prime256v1' }) },
  'rsa-2048': { hash: 'sha256', ...generateKeyPairSync('rsa', { modulusLength: 2048 }) },
  'ml-dsa-65': { hash: null, ...generateKeyPairSync('ml-dsa-65') },
};

type Item = Record<string, string>;

const verbs: Record<string, (algorithm: string, item: Item) => Promise<object> | object> = {
  encrypt(_algorithm, { plaintextBase64 }) {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', aesKey, nonce);
    const body = cipher.update(Buffer.from(plaintextBase64!, 'base64'));
    return { ciphertext: Buffer.concat([nonce, body, cipher.final(), cipher.getAuthTag()]).toString('base64') };
  },
  decrypt(_algorithm, { ciphertext }) {
    const bytes = Buffer.from(ciphertext!, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', aesKey, bytes.subarray(0, NONCE_BYTES));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    const plaintext = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
    return { plaintextBase64: Buffer.concat([plaintext, decipher.final()]).toString('base64') };
  },
  async sign(algorithm, { messageBase64 }) {
    const { hash, privateKey } = pairs[algorithm]!;
    return { signature: (await signAsync(hash, Buffer.from(messageBase64!, 'base64'), privateKey)).toString('base64') };
  },
  async verify(algorithm, { messageBase64, signature }) {
    const { hash, publicKey } = pairs[algorithm]!;
    const [message, bytes] = [messageBase64!, signature!].map((text) => Buffer.from(text, 'base64'));
    return { valid: await verifyAsync(hash, message!, publicKey, bytes!) };
  },
};

const server = createServer((req, res) => void serve(req, res));

async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
  jsonwebtoken.verify((req.headers.authorization ?? '').slice(7), tokenKey, { algorithms: ['HS256'] });
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  const body = JSON.parse(Buffer.concat(chunks).toString()) as Item & { items?: Item[] };
  const [, verb, algorithm] = req.url!.split('/');
  const work = (item: Item) => verbs[verb!]!(algorithm!, item);
  const items: object[] = [];
  for (const item of body.items ?? []) items.push(await work(item));
  const text = JSON.stringify(body.items ? { items } : await work(body));
  res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }).end(text);
}

server.listen(Number(process.env['BASELINE_PORT']), '127.0.0.1', () => {
  process.send?.({ token: jsonwebtoken.sign({ sub: 'bench' }, tokenKey, { algorithm: 'HS256', expiresIn: 36_000 }) });
});
process.on('disconnect', () => process.exit(0));
