import { toText } from '@cardea/crypto/encoding';
import type { BareType } from '@cardea/http/server/accept';
import { expiryOf } from '@cardea/vault/secrets/lifecycle/due';
import type { Secret, SecretValue } from '@cardea/vault/secrets/secret';
import type { SecretSummary } from '@cardea/vault/secrets/summary';
import type { PutOptions, PutOutcome } from '@cardea/vault/secrets/write-version';

/** The bytes of a value in a request. */
export function valueOf(body: {
  value: string;
  encoding: 'utf8' | 'base64';
  contentType?: string | undefined;
}): SecretValue {
  const { value, encoding, contentType } = body;
  return { bytes: Buffer.from(value, encoding), encoding, contentType };
}

/** The options of a write. `now` is the start of `ttlSeconds`, in milliseconds since 1970. */
export function optionsOf(
  body: Pick<PutOptions, 'metadata' | 'maxVersions'> & {
    ttlSeconds?: number | undefined;
    expiresAt?: string | undefined;
  },
  now: number,
): PutOptions {
  const { metadata, maxVersions } = body;
  return { metadata, maxVersions, expiresAt: expiryOf(body, now) };
}

export function outcomeToWire({ name, version, changed, createdAt, expiresAt }: PutOutcome) {
  return { name, version, changed, createdAt: createdAt.toISOString(), ...optionalTime({ expiresAt }) };
}

export function summaryToWire({ createdAt, updatedAt, expiresAt, ...rest }: SecretSummary) {
  const times = { createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString() };
  return { ...rest, ...times, ...optionalTime({ expiresAt }) };
}

/** The entity tag of the newest version, for the condition of the next call. */
export function tagHeader({ version }: { version: number }): { ETag: string } {
  return { ETag: `"${version}"` };
}

/** A value in an answer. Overwrites the bytes. */
export function secretToWire(secret: Secret) {
  const { name, version, bytes, encoding, contentType, metadata, createdAt, expiresAt, target } = secret;
  const value = toText(bytes, encoding);
  bytes.fill(0);
  return {
    name,
    version,
    value,
    encoding,
    ...(contentType ? { contentType } : {}),
    metadata,
    createdAt: createdAt.toISOString(),
    ...(expiresAt ? { expiresAt: expiresAt.toISOString() } : {}),
    ...(target ? { target } : {}),
  };
}

/** A value as the whole answer. Bytes that are no text are never called text. */
export function bareValue({ bytes, encoding }: Secret, asked: BareType) {
  const isText = asked === 'text/plain' && encoding === 'utf8';
  const contentType = isText ? 'text/plain; charset=utf-8' : 'application/octet-stream';
  return { secretBytes: bytes, contentType };
}

/** Times as text. Leaves out undefined ones. */
export function optionalTime<K extends string>(times: Record<K, Date | undefined>): Partial<Record<K, string>> {
  const entries = Object.entries<Date | undefined>(times).filter(([, time]) => time !== undefined);
  return Object.fromEntries(entries.map(([name, time]) => [name, time!.toISOString()])) as Partial<Record<K, string>>;
}

/** The answer of a deletion. */
export function emptyWithDependants({ dependants }: { dependants: number }) {
  return { empty: true as const, headers: dependantsHeader(dependants) };
}

/** The header with the number of references to a name that was given up. No header if there are none. */
export function dependantsHeader(dependants: number): Record<string, string> {
  return dependants > 0 ? { 'Cardea-Dependants': String(dependants) } : {};
}
