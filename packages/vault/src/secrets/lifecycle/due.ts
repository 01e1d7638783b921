import type { VaultContext } from '../../context.ts';

/** When the value of a secret's newest version ends: with the version or with the secret, whichever is sooner. */
export function dueAt(secretExpiresAt: number | null, versionExpiresAt: number | null): number | null {
  if (secretExpiresAt === null || versionExpiresAt === null) return secretExpiresAt ?? versionExpiresAt;
  return Math.min(secretExpiresAt, versionExpiresAt);
}

/** When that is to be announced next: at the first of the leads that is not over yet. */
export function nextAnnouncement(
  ctx: Pick<VaultContext, 'settings'>,
  due: number | null,
  after: number,
): number | null {
  if (due === null) return null;
  const times = ctx.settings.expiryLeadsMs.map((lead) => due - lead).filter((time) => time > after);
  return times.length === 0 ? null : Math.min(...times);
}

/** The same after a change: what has been reached and not been told yet is told still, unless the end was moved. */
export function announcementOf(
  ctx: Pick<VaultContext, 'settings'>,
  before: { due_at: number | null; announce_at: number | null },
  { due, now }: { due: number | null; now: number },
): number | null {
  return due === before.due_at ? before.announce_at : nextAnnouncement(ctx, due, now);
}

/** The end that was asked for, in milliseconds since 1970; undefined if nothing was said of it. */
export function expiryOf(
  { ttlSeconds, expiresAt }: { ttlSeconds?: number | undefined; expiresAt?: string | null | undefined },
  now: number,
): number | null | undefined {
  if (ttlSeconds !== undefined) return now + ttlSeconds * 1000;
  return typeof expiresAt === 'string' ? Date.parse(expiresAt) : expiresAt;
}
