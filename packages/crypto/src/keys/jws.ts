import { parseBase64Url, toBase64Url } from '../encoding.ts';
import { keyAlgorithms } from './key-algorithms.ts';
import type { KeyAlgorithm } from './key-algorithms.ts';
import type { SignatureTerms } from './signatures.ts';

/** The protected header of a JWS: JSON. */
export type JwsHeader = Record<string, unknown>;

// RFC 7518 section 3.1, RFC 8037 and RFC 9864, and "ML-DSA-65" of the registry of JOSE. The first is the default.
const algsOf = {
  rsa: {
    PS256: { hash: 'sha256' },
    PS384: { hash: 'sha384' },
    PS512: { hash: 'sha512' },
    RS256: { hash: 'sha256', scheme: 'rsassa-pkcs1-v1_5' },
    RS384: { hash: 'sha384', scheme: 'rsassa-pkcs1-v1_5' },
    RS512: { hash: 'sha512', scheme: 'rsassa-pkcs1-v1_5' },
  },
  'ecdsa-p256': { ES256: { format: 'ieee-p1363' } },
  'ecdsa-p384': { ES384: { format: 'ieee-p1363' } },
  'ecdsa-p521': { ES512: { format: 'ieee-p1363' } },
  ed25519: { EdDSA: {}, Ed25519: {} },
  'ml-dsa-65': { 'ML-DSA-65': {} },
  'hmac-sha256': { HS256: {} },
  'hmac-sha384': { HS384: {} },
  'hmac-sha512': { HS512: {} },
} satisfies Record<string, Record<string, SignatureTerms>>;

/** The `alg` that a key of this algorithm signs, with the terms of each, the default first. Empty if it signs no JWS. */
export function jwsAlgsOf(algorithm: KeyAlgorithm): Map<string, SignatureTerms> {
  const name = keyAlgorithms[algorithm].family === 'rsa' ? 'rsa' : algorithm;
  return new Map(Object.entries(Object.hasOwn(algsOf, name) ? algsOf[name as keyof typeof algsOf] : {}));
}

/** What is signed, RFC 7515 section 5.1: base64url(header) ‖ `.` ‖ base64url(payload). */
export function jwsSigningInput(header: JwsHeader, payload: Uint8Array): string {
  return `${toBase64Url(Buffer.from(JSON.stringify(header)))}.${toBase64Url(payload)}`;
}

/** Joins the parts of the compact serialization, RFC 7515 section 7.1. */
export function formatJws(signingInput: string, signature: Uint8Array): string {
  return `${signingInput}.${toBase64Url(signature)}`;
}

/** A JWS in its parts. Nothing of it has been verified. */
export interface ParsedJws {
  header: JwsHeader;
  signingInput: string;
  signature: Uint8Array;
}

/**
 * Reads the compact serialization. Undefined if it has another form, or if its header has `crit` (RFC 7515 section
 * 4.1.11): no extension is understood here.
 */
export function parseJws(text: string): ParsedJws | undefined {
  const parts = text.split('.');
  const [head, payload, signature] = parts.map(parseBase64Url);
  if (parts.length !== 3 || !head || !payload || !signature) return undefined;
  const header = parseObject(head);
  if (!header || Object.hasOwn(header, 'crit')) return undefined;
  return { header, signingInput: `${parts[0]}.${parts[1]}`, signature };
}

function parseObject(bytes: Uint8Array): JwsHeader | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JwsHeader) : undefined;
  } catch {
    return undefined;
  }
}
