import type { VaultContext } from '../../context.ts';

/** When the newest version of a secret expires: at its own expiry or at that of the secret, whichever is sooner. */
export function dueAt(secretExpiresAt: number | null, versionExpiresAt: number | null): number | null {
  if (secretExpiresAt === null || versionExpiresAt === null) return secretExpiresAt ?? versionExpiresAt;
  return Math.min(secretExpiresAt, versionExpiresAt);
}

/** When the expiry must be announced next: at the earliest lead time after `after`. Null if there is none. */
export function nextAnnouncement(
  ctx: Pick<VaultContext, 'settings'>,
  due: number | null,
  after: number,
): number | null {
  if (due === null) return null;
  const times = ctx.settings.expiryLeadsMs.map((lead) => due - lead).filter((time) => time > after);
  return times.length === 0 ? null : Math.min(...times);
}

/** The next announcement after a change. One that is overdue stays due, unless the change has moved the expiry. */
export function announcementOf(
  ctx: Pick<VaultContext, 'settings'>,
  before: { due_at: number | null; announce_at: number | null },
  { due, now }: { due: number | null; now: number },
): number | null {
  return due === before.due_at ? before.announce_at : nextAnnouncement(ctx, due, now);
}

/** The expiry that a request asks for, in milliseconds since 1970. Undefined if the request gives none. */
export function expiryOf(
  { ttlSeconds, expiresAt }: { ttlSeconds?: number | undefined; expiresAt?: string | null | undefined },
  now: number,
): number | null | undefined {
  if (ttlSeconds !== undefined) return now + ttlSeconds * 1000;
  return typeof expiresAt === 'string' ? Date.parse(expiresAt) : expiresAt;
}
