/** When the newest version of a secret expires: at its own expiry or at that of the secret, whichever is sooner. */
export function dueAt(secretExpiresAt: number | null, versionExpiresAt: number | null): number | null {
  if (secretExpiresAt === null || versionExpiresAt === null) return secretExpiresAt ?? versionExpiresAt;
  return Math.min(secretExpiresAt, versionExpiresAt);
}

/** The expiry that a request asks for, in milliseconds since 1970. Undefined if the request gives none. */
export function expiryOf(
  { ttlSeconds, expiresAt }: { ttlSeconds?: number | undefined; expiresAt?: string | null | undefined },
  now: number,
): number | null | undefined {
  if (ttlSeconds !== undefined) return now + ttlSeconds * 1000;
  return typeof expiresAt === 'string' ? Date.parse(expiresAt) : expiresAt;
}
