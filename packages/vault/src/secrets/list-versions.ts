import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { authorize } from '../authorize.ts';
import { fromCursor } from '../cursor.ts';
import type { ListId } from '../cursor.ts';
import type { LastRead, VaultContext } from '../context.ts';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { namesOf } from '../principal-names.ts';
import type { Who } from '../principal-names.ts';
import { audited } from '../record.ts';
import { listBreakGlass } from './break-glass/break-glass-store.ts';
import { dueAt } from './lifecycle/due.ts';
import { getLiveSecret } from './secret-state.ts';
import type { SecretRow } from './secret-store.ts';
import { listVersionRows } from './version-list-store.ts';
import type { ListedVersion } from './version-list-store.ts';

export interface Version {
  version: number;
  state: 'current' | 'superseded' | 'expired' | 'deleted' | 'destroyed';
  encoding: 'utf8' | 'base64';
  contentType?: string;
  createdAt: Date;
  createdBy: Who;
  expiresAt?: Date;
  destroyedAt?: Date;
  destroyedBy?: Who;
  lastReadAt?: Date;
  lastReadBy?: Who;
  breakGlass?: { at: Date; by: Who; reason: string }[];
}

/** The versions of a secret, the newest first. @throws AppError `not_found` if none exists or all are in the trash */
export async function listVersions(
  ctx: VaultContext,
  caller: Caller,
  ref: { vault: string; name: string },
  { limit, cursor }: PageRequest,
): Promise<Audited<Page<Version>>> {
  const allowed = await authorize(ctx, caller, 'secret.list', ref);
  const { vault, rule } = allowed;
  const secret = await getLiveSecret(ctx.db, { vaultId: vault.id, name: ref.name });
  // The reads that this process has noted may not be in the rows yet. They are fetched before the rows, so that a flush
  // in between cannot hide a read from both.
  const noted = ctx.lastReads.of(secret.id);
  const list: ListId = ['versions', secret.id];
  const [before] = fromCursor(list, cursor, [Number.MAX_SAFE_INTEGER]);
  const stored = await listVersionRows(ctx.db, { secretId: secret.id, before, limit: limit + 1 });
  const rows = stored.map((row) => withNoted(row, noted));
  const uses = await listBreakGlass(ctx.db, secret.id);
  const who = await namesOf(ctx.db, [
    ...rows.flatMap((row) => [row.created_by, row.destroyed_by, row.last_read_by]),
    ...uses.map((use) => use.by),
  ]);
  const versions = rows.map((row) => ({
    ...toVersion(secret, row, who, ctx.now().getTime()),
    ...breakGlassOf(uses, row.version, who),
  }));
  const page = pageOf(list, versions, limit, ({ version }) => [version]);
  const resource = { vault: vault.name, vaultId: vault.id, name: ref.name, count: page.items.length };
  return audited(ctx, caller, [allowed], { action: 'secret.versions', resource, rule }, () => page);
}

function withNoted(row: ListedVersion, noted: LastRead[]): ListedVersion {
  const read = noted.find(({ version }) => version === row.version);
  if (!read || read.at < (row.last_read_at ?? 0)) return row;
  return { ...row, last_read_at: read.at, last_read_by: read.by };
}

function toVersion(
  secret: SecretRow,
  row: ListedVersion,
  who: (principal: string) => Who,
  now: number,
): Omit<Version, 'breakGlass'> {
  const due = dueAt(secret.expires_at, row.expires_at);
  return {
    version: row.version,
    state: stateOf(secret, row, due !== null && due <= now),
    encoding: row.encoding,
    ...(row.content_type === null ? {} : { contentType: row.content_type }),
    createdAt: new Date(row.created_at),
    createdBy: who(row.created_by),
    ...(due === null ? {} : { expiresAt: new Date(due) }),
    ...(row.destroyed_at === null ? {} : { destroyedAt: new Date(row.destroyed_at) }),
    ...(row.destroyed_by === null ? {} : { destroyedBy: who(row.destroyed_by) }),
    ...(row.last_read_at === null ? {} : { lastReadAt: new Date(row.last_read_at) }),
    ...(row.last_read_by === null ? {} : { lastReadBy: who(row.last_read_by) }),
  };
}

function stateOf(secret: SecretRow, row: ListedVersion, hasExpired: boolean): Version['state'] {
  if (row.deleted_at !== null) return 'deleted';
  if (hasExpired) return 'expired';
  if (row.destroyed_at !== null) return 'destroyed';
  return row.version === secret.current_version ? 'current' : 'superseded';
}

function breakGlassOf(
  uses: { version: number; at: number; by: string; reason: string }[],
  version: number,
  who: (principal: string) => Who,
): Pick<Version, 'breakGlass'> {
  const own = uses.filter((use) => use.version === version);
  if (own.length === 0) return {};
  return { breakGlass: own.map(({ at, by, reason }) => ({ at: new Date(at), by: who(by), reason })) };
}
