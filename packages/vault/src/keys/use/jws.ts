import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { holdsPrivate } from '@cardea/crypto/keys/key-material';
import { formatJws, jwsAlgsOf, jwsSigningInput, parseJws } from '@cardea/crypto/keys/jws';
import type { JwsHeader } from '@cardea/crypto/keys/jws';
import { isOf } from '@cardea/crypto/keys/key-algorithms';
import type { KeyAlgorithm } from '@cardea/crypto/keys/key-algorithms';
import { isMacOf, macOf } from '@cardea/crypto/keys/mac';
import { isSignatureOf, signMessage } from '@cardea/crypto/keys/signatures';
import type { SignatureTerms } from '@cardea/crypto/keys/signatures';
import type { VaultContext } from '../../context.ts';
import { kidOf } from '../key.ts';
import { publicOnly } from '../usable-key.ts';
import { cannot } from './algorithm-refusal.ts';
import { verdictOn } from './authentication.ts';
import type { Material, Verdict } from './authentication.ts';
import type { KeyInUse } from './key-in-use.ts';
import { useKey } from './use-key.ts';
import type { Items } from './use-key.ts';
import type { UsedKeyRef } from './use-rows.ts';

/** What a JWS says. */
export interface JwsItem {
  /** Without `alg` and `kid`, it gets those of the key. */
  protectedHeader: JwsHeader;
  payload: Uint8Array;
  /** Of a key that derives others: which of them signs. */
  context?: Uint8Array | undefined;
  keyVersion?: number | undefined;
}

/** A JWS, and the version that signed it. */
export interface Jws {
  jws: string;
  keyVersion: number;
}

/** Signs JWS (RFC 7515, compact). @throws as `useKey`; AppError `conflict` if the key signs none with the `alg`, `invalid_request` */
export function signJws(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<JwsItem>,
): Promise<Audited<(Jws | AppError)[]>> {
  return useKey(
    ctx,
    caller,
    ref,
    {
      action: 'key.signJws',
      operation: 'sign',
      rights: ['key.sign'],
      async work(key, { protectedHeader, payload, context, keyVersion }: JwsItem) {
        const { alg, terms } = requireAlg(key.algorithm, protectedHeader);
        // What is not understood must not be signed either: the verifier would take it for kept.
        if (Object.hasOwn(protectedHeader, 'crit')) throw badHeader('crit is not supported');
        const { version, material } = await key.maker(keyVersion, context);
        if (!holdsPrivate(material)) throw publicOnly();
        const kid = kidOf(ref.name, version);
        const header = { alg, kid, ...protectedHeader };
        if (header.kid !== kid) throw badHeader(`kid must be ${kid}, or left out`);
        const input = jwsSigningInput(header, payload);
        const signature = await signed(key, material, Buffer.from(input), terms);
        return { jws: formatJws(input, signature), keyVersion: version };
      },
    },
    items,
  );
}

function requireAlg(algorithm: KeyAlgorithm, header: JwsHeader): { alg: string; terms: SignatureTerms } {
  const algs = jwsAlgsOf(algorithm);
  const [first] = algs.keys();
  if (first === undefined) throw cannot(algorithm, 'signs no JWS');
  const alg = header['alg'] ?? first;
  const terms = typeof alg === 'string' ? algs.get(alg) : undefined;
  if (!terms) throw cannot(algorithm, `signs JWS with the alg ${[...algs.keys()].join(', ')}`);
  return { alg: alg as string, terms };
}

function signed(
  { algorithm, run }: KeyInUse,
  { key }: Material,
  message: Uint8Array,
  terms: SignatureTerms,
): Promise<Uint8Array> {
  return run(async () =>
    isOf('hmac', algorithm) ? macOf({ algorithm, key }, message) : signMessage({ algorithm, key }, message, terms),
  );
}

/** What is said to be a JWS of the key. */
export interface SignedJws {
  jws: string;
  context?: Uint8Array | undefined;
}

/**
 * Whether JWS hold. The `kid` must name a version of the key, as in all that it has signed, and the `alg` must be one that
 * it signs. @throws as `useKey`; AppError `conflict` if the key signs none
 */
export function verifyJws(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<SignedJws>,
): Promise<Audited<(Verdict | AppError)[]>> {
  return useKey(
    ctx,
    caller,
    ref,
    {
      action: 'key.verifyJws',
      operation: 'verify',
      rights: ['key.verify'],
      async work(key, { jws, context }: SignedJws) {
        const algs = jwsAlgsOf(key.algorithm);
        if (algs.size === 0) throw cannot(key.algorithm, 'signs no JWS');
        const parsed = parseJws(jws);
        const terms = algs.get(String(parsed?.header['alg']));
        const version = parsed && versionOf(ref.name, parsed.header['kid']);
        const made = parsed && terms && version !== undefined ? { version, bytes: parsed.signature } : undefined;
        const message = Buffer.from(parsed?.signingInput ?? '');
        return verdictOn(key, { made, context }, (material, bytes) =>
          holds(key, material, message, { bytes, terms: terms ?? {} }),
        );
      },
    },
    items,
  );
}

/** The version that a `kid` names. Undefined if it is not one of the key. */
function versionOf(name: string, kid: unknown): number | undefined {
  const version = typeof kid === 'string' ? /:v([1-9]\d{0,14})$/.exec(kid)?.[1] : undefined;
  return version !== undefined && kid === kidOf(name, Number(version)) ? Number(version) : undefined;
}

function holds(
  { algorithm, run }: KeyInUse,
  { key, publicKey }: Material,
  message: Uint8Array,
  { bytes, terms }: { bytes: Uint8Array; terms: SignatureTerms },
): Promise<boolean> {
  return run(async () =>
    isOf('hmac', algorithm)
      ? isMacOf({ algorithm, key }, message, bytes)
      : isSignatureOf({ algorithm, key: publicKey! }, message, bytes, terms),
  );
}

function badHeader(message: string): AppError {
  return new AppError('invalid_request', `protectedHeader: ${message}`, { rule: 'jws-header' });
}
