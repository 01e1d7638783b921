import type { VaultSettings } from './context.ts';

/** How long before an expiry it is announced. */
interface Leads {
  settings: Pick<VaultSettings, 'expiryLeadsMs'>;
}

/** When the expiry must be announced next: at the earliest lead time after `after`. Null if there is none. */
export function nextAnnouncement(ctx: Leads, due: number | null, after: number): number | null {
  if (due === null) return null;
  const times = ctx.settings.expiryLeadsMs.map((lead) => due - lead).filter((time) => time > after);
  return times.length === 0 ? null : Math.min(...times);
}

/** The next announcement after a change. One that is overdue stays due, unless the change has moved the expiry. */
export function announcementOf(
  ctx: Leads,
  before: { due_at: number | null; announce_at: number | null },
  { due, now }: { due: number | null; now: number },
): number | null {
  return due === before.due_at ? before.announce_at : nextAnnouncement(ctx, due, now);
}
