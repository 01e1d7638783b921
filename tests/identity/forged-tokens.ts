import type { KeyObject } from 'node:crypto';
import { createHmac, createSign, generateKeyPairSync, randomBytes } from 'node:crypto';
import { createClient } from '@cardea/http/client/peer-client';
import { createKekClient } from '@cardea/http/client/kek-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import type { TestSystem } from '@cardea/testkit/system';
import { findSigningKey } from '@cardea/vault/users/signing-keys';
import { createDekCache } from '@cardea/vault/deks/dek-cache';

export type Json = Record<string, unknown>;

/** The content of an access token, not verified. */
export interface Parts {
  header: Json;
  claims: Json;
}

export function parseToken(token: string): Parts {
  const [header, claims] = token.split('.').slice(0, 2).map(decode);
  return { header: header!, claims: claims! };
}

/**
 * Makes tokens that must be refused. It has the real signing key, read from the database with the certificate of
 * api-service. So a refusal is due to the content of a token and not to its signature.
 */
export async function createForger(system: TestSystem, token: string): Promise<Forger> {
  const { header, claims } = parseToken(token);
  const key = await readSigningKey(system, String(header['kid']));
  return {
    header,
    claims,
    sign: (parts) => sign({ header, claims, ...parts }, key),
    signWith: (bytes, parts = {}) => sign({ header, claims, ...parts }, bytes),
    unsigned: (parts) => `${head({ header, claims, ...parts })}.`,
    signAsymmetric: (parts) => signAsymmetric({ header, claims, ...parts }),
  };
}

export interface Forger extends Parts {
  /** Signs with the real key. */
  sign(parts: Partial<Parts>): string;
  signWith(key: Uint8Array | string, parts?: Partial<Parts>): string;
  unsigned(parts: Partial<Parts>): string;
  /** Signs by RS256 with a new key. */
  signAsymmetric(parts: Partial<Parts>): string;
}

export const anyKey = randomBytes(32);

/** The public key as a JWK, which a token could offer for its own verification. */
export const anyJwk: Json = { kty: 'oct', alg: 'HS256', k: anyKey.toString('base64url') };

async function readSigningKey(system: TestSystem, id: string): Promise<KeyObject> {
  const { CARDEA_KEK_URL: url = '', CARDEA_TLS_DIR: tlsDir = '' } = system.environment('api');
  const client = createClient({ url, peer: 'kek-service', identity: readTlsIdentity(tlsDir, 'api-service') });
  const db = system.openDatabase();
  try {
    const found = await findSigningKey(
      {
        db,
        deks: createDekCache({
          db,
          keks: createKekClient(client),
          audit: system.vault.audit,
          steadyMs: system.steadyMs,
        }),
      },
      id,
    );
    if (!found) throw new Error(`there is no signing key ${id}`);
    return found.key;
  } finally {
    await Promise.all([client.close(), db.close()]);
  }
}

function sign(parts: Parts, key: KeyObject | Uint8Array | string): string {
  const signed = head(parts);
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}

function signAsymmetric(parts: Parts): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signed = head(parts);
  return `${signed}.${createSign('sha256').update(signed).sign(privateKey, 'base64url')}`;
}

function head({ header, claims }: Parts): string {
  return `${encode(header)}.${encode(claims)}`;
}

function encode(value: Json): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decode(part: string): Json {
  return JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as Json;
}
