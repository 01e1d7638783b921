import type { AuditRule } from '@cardea/contracts/audit-rules';
import { AppError } from '@cardea/contracts/errors';
import type { SuspiciousRule } from '@cardea/contracts/suspicious';
import type { SigningKey } from '@cardea/vault/users/signing-keys';
import jsonwebtoken from 'jsonwebtoken';
import { z } from 'zod';
import type { TokenKeys } from './token-keys.ts';

/** The lifetime of an access token. Its session may end sooner, and is checked at every request. */
export const ACCESS_TOKEN_SECONDS = 300;

/** The clocks of two processes differ by less. */
const CLOCKS_DIFFER_SECONDS_MAX = 300;

const ALGORITHM = 'HS256';
const TYPE = 'at+jwt';
const ISSUER = 'cardea';
const AUDIENCE = 'cardea-api';
const TOKEN_BYTES_MAX = 4_096;
const REMEMBERED_MAX = 10_000;

const Header = z.strictObject({ alg: z.literal(ALGORITHM), typ: z.literal(TYPE), kid: z.uuid() });
const Claims = z.strictObject({
  sub: z.uuid(),
  /** The session of a user, or the credential of an application. */
  sid: z.uuid(),
  kind: z.enum(['user', 'application']),
  iss: z.literal(ISSUER),
  aud: z.literal(AUDIENCE),
  iat: z.int(),
  exp: z.int(),
});

/** The claims of a verified token. */
export interface TokenClaims {
  kind: 'user' | 'application';
  /** The user or application. */
  subjectId: string;
  /** The session of a user, or the credential of an application. */
  sessionId: string;
}

export interface Tokens {
  sign(claims: TokenClaims): Promise<string>;
  /** @throws AppError `unauthenticated` */
  verify(token: string): Promise<TokenClaims>;
  /** The claims of a token that was verified before and has not expired. Does not verify anything. */
  recall(token: string): TokenClaims | undefined;
}

/**
 * Access tokens: JWTs in the form of RFC 9068, with one fixed algorithm. The key is chosen by `kid` and by nothing else
 * in the token.
 */
export function createTokens(keys: Pick<TokenKeys, 'newest' | 'find'>, now: () => Date): Tokens {
  // Verified tokens until their expiry, in the order of arrival.
  const remembered = new Map<string, { claims: TokenClaims; expiresAt: number }>();

  function recall(token: string): TokenClaims | undefined {
    const known = remembered.get(token);
    return known && isAlive(known.expiresAt, now().getTime() / 1000) ? known.claims : undefined;
  }

  async function learn(token: string): Promise<TokenClaims> {
    remembered.delete(token);

    const nowSeconds = now().getTime() / 1000;
    const { sub, sid, kind, exp } = await check(token, nowSeconds);
    const claims: TokenClaims = { kind, subjectId: sub, sessionId: sid };
    if (remembered.size >= REMEMBERED_MAX) remembered.delete(remembered.keys().next().value!);
    remembered.set(token, { claims, expiresAt: exp });
    return claims;
  }

  async function check(token: string, nowSeconds: number): Promise<z.output<typeof Claims>> {
    if (token.length > TOKEN_BYTES_MAX) throw forged('token-too-long', 'token_too_long');
    const header = Header.safeParse(parseHeader(token));
    if (!header.success) throw forged('token-malformed', 'token_malformed');
    const key = await keys.find(header.data.kid);
    if (!key) throw forged('token-unknown-key', 'token_unknown_key');
    return believe(token, key, nowSeconds);
  }

  return {
    async sign({ kind, subjectId, sessionId }) {
      const iat = Math.floor(now().getTime() / 1000);
      const { id, key } = await keys.newest();
      return jsonwebtoken.sign({ sid: sessionId, kind, iat }, key, {
        algorithm: ALGORITHM,
        header: { alg: ALGORITHM, typ: TYPE, kid: id },
        subject: subjectId,
        issuer: ISSUER,
        audience: AUDIENCE,
        expiresIn: ACCESS_TOKEN_SECONDS,
      });
    },
    verify: (token) => {
      const known = recall(token);
      return known ? Promise.resolve(known) : learn(token);
    },
    recall,
  };
}

// A token that would last longer than any was made while the clock was ahead, and would live longer by as much.
function isAlive(exp: number, nowSeconds: number): boolean {
  const left = exp - nowSeconds;
  return left > 0 && left <= ACCESS_TOKEN_SECONDS + CLOCKS_DIFFER_SECONDS_MAX;
}

function believe(token: string, { key }: SigningKey, nowSeconds: number): z.output<typeof Claims> {
  try {
    const payload = jsonwebtoken.verify(token, key, {
      algorithms: [ALGORITHM],
      issuer: ISSUER,
      audience: AUDIENCE,
      clockTimestamp: Math.floor(nowSeconds),
    });
    const claims = Claims.parse(payload);
    if (isAlive(claims.exp, nowSeconds)) return claims;
  } catch (error) {
    if (!(error instanceof jsonwebtoken.TokenExpiredError)) throw forged('token-forged', 'token_forged');
  }
  throw new AppError('unauthenticated', 'the token has expired', { rule: 'token-expired' });
}

function parseHeader(token: string): unknown {
  const [encoded, , signature, ...more] = token.split('.');
  if (!encoded || signature === undefined || more.length > 0) return undefined;
  try {
    return JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}

function forged(rule: AuditRule, suspicious: SuspiciousRule): AppError {
  return new AppError('unauthenticated', 'the token is not valid', { rule, suspicious });
}
