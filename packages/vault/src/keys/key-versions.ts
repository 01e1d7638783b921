import { changesBetween, noChanges } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import { DAY_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import type { KeyMaterial } from '@cardea/crypto/keys/key-material';
import type { PublicHalf } from '@cardea/crypto/keys/public-half';
import type { Queryable } from '@cardea/storage/db';
import { pauseIfLong } from '@cardea/storage/long-work';
import { authorize, authorizeAll, principalOf } from '../authorize.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import type { KeyOperation, VaultContext } from '../context.ts';
import { fromCursor } from '../cursor.ts';
import type { ListId } from '../cursor.ts';
import { keyNotThere } from '../not-there.ts';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { namesOf } from '../principal-names.ts';
import type { Who } from '../principal-names.ts';
import { beginOpening } from '../deks/opening.ts';
import { audited } from '../record.ts';
import { keyResource, toPublicHalf } from './key.ts';
import type { KeyRef } from './key.ts';
import { openKeyMaterial } from './key-sealing.ts';
import { findKey } from './key-store.ts';
import type { KeyRow } from './key-store.ts';
import { listKeyUses } from './key-use-store.ts';
import type { UsesRow } from './key-use-store.ts';
import { dayOf } from './key-uses.ts';
import { lockUsableKey, refuseDeleted } from './usable-key.ts';
import { destroyKeyVersion, findKeyVersion, listKeyVersionRows, setKeyVersionState } from './key-version-store.ts';
import type { KeyVersionRow, KeyVersionState } from './key-version-store.ts';

export interface KeyVersion {
  version: number;
  state: KeyVersionState;
  createdAt: Date;
  createdBy: Who;
  destroyedAt?: Date;
  destroyedBy?: Who;
  /** By operation, if it was ever used. */
  uses: OperationUses[];
  /** Of a key pair, unless the version is destroyed. */
  publicHalf: PublicHalf | undefined;
}

/** How a version was used. */
export interface OperationUses {
  operation: KeyOperation;
  last30Days: number;
  lastUsedAt: Date;
  lastUsedBy: Who;
}

/** The versions of a key, the newest first. @throws AppError `not_found`, `access_denied`, `sealed` */
export async function listKeyVersions(
  ctx: VaultContext,
  caller: Caller,
  ref: KeyRef,
  { limit, cursor }: PageRequest,
): Promise<Audited<Page<KeyVersion>>> {
  const allowed = await authorize(ctx, caller, 'key.list', ref);
  const { vault, rule } = allowed;
  const key = await findKey(ctx.db, { vaultId: vault.id, name: ref.name });
  if (!key) throw keyNotThere();
  const list: ListId = ['key-versions', key.id];
  const [before] = fromCursor(list, cursor, [Number.MAX_SAFE_INTEGER]);
  const rows = await listKeyVersionRows(ctx.db, { keyId: key.id, before, limit: limit + 1 });
  const { items, ...rest } = pageOf(list, rows, limit, ({ version }) => [version]);
  const uses = await usesOf(ctx, key.id, items);
  const who = await namesOf(ctx.db, [...items.flatMap(principalsOf), ...uses.map((use) => use.last_used_by)]);
  const versions: KeyVersion[] = [];
  const opening = beginOpening(ctx, caller);
  for (const row of items) {
    await pauseIfLong(callerKey(caller));
    const id = {
      vault,
      name: ref.name,
      keyId: key.id,
      version: row.version,
      algorithm: key.algorithm,
      exportable: key.exportable,
      derivation: key.derivation,
    };
    const material = row.ciphertext ? await openKeyMaterial(opening, id, row.ciphertext) : undefined;
    versions.push(toVersion(key, row, { who, material, uses }));
  }
  const resource = { ...keyResource(vault, ref), count: items.length };
  return audited(ctx, caller, [allowed], { action: 'key.versions', rule, resource }, () => ({
    items: versions,
    ...rest,
  }));
}

/** The uses of versions, those of this process until now included. */
async function usesOf(ctx: VaultContext, keyId: string, rows: KeyVersionRow[]): Promise<UsesRow[]> {
  if (rows.length === 0) return [];
  await ctx.keyUses.flush();
  const versions = { from: rows.at(-1)!.version, to: rows[0]!.version };
  return listKeyUses(ctx.db, { keyId, versions, since: dayOf(ctx.now().getTime() - 30 * DAY_MS) });
}

function principalsOf({ created_by, destroyed_by }: KeyVersionRow): (string | null)[] {
  return [created_by, destroyed_by];
}

function toVersion(
  { name, algorithm }: Pick<KeyRow, 'name' | 'algorithm'>,
  { version, state, ...row }: KeyVersionRow,
  { who, material, uses }: { who: (principal: string) => Who; material: KeyMaterial | undefined; uses: UsesRow[] },
): KeyVersion {
  return {
    version,
    state,
    createdAt: new Date(row.created_at),
    createdBy: who(row.created_by),
    ...(row.destroyed_at === null ? {} : { destroyedAt: new Date(row.destroyed_at) }),
    ...(row.destroyed_by === null ? {} : { destroyedBy: who(row.destroyed_by) }),
    uses: uses
      .filter((use) => use.version === version)
      .map(({ operation, uses: last30Days, last_used_at: at, last_used_by: by }) => ({
        operation,
        last30Days,
        lastUsedAt: new Date(at),
        lastUsedBy: who(by),
      })),
    publicHalf: toPublicHalf({ name, algorithm, version }, material?.publicKey),
  };
}

/**
 * Enables, disables or destroys a version. Destruction needs the right to delete too. The answer says how often it was
 * used. With `dryRun` that is all: nothing changes, and what would be refused is refused.
 * @throws AppError `not_found`, `access_denied`; `gone` if it was destroyed; `conflict` to destroy the newest
 */
export async function changeKeyVersion(
  ctx: VaultContext,
  caller: Caller,
  { version, ...ref }: KeyRef & { version: number },
  { state, dryRun }: { state: KeyVersionState; dryRun: boolean },
): Promise<Audited<KeyVersion>> {
  const destroys = state === 'destroyed';
  const allowed = await authorizeAll(ctx, caller, destroys ? ['key.manage', 'key.delete'] : ['key.manage'], ref);
  const { vault, rule } = allowed;
  const resource = { ...keyResource(vault, ref), keyVersion: version };
  await ctx.keyUses.flush();
  if (dryRun) {
    const key = await findKey(ctx.db, { vaultId: vault.id, name: ref.name });
    if (!key) throw keyNotThere();
    refuseDeleted(key);
    const row = await findChangeable(ctx.db, key, { version, state });
    const shown = await withUses(ctx, ctx.db, key, { ...row, state });
    const facts = { action: 'key.changeVersion', rule, resource, reason: 'dry run', changes: noChanges } as const;
    return audited(ctx, caller, [allowed], facts, () => shown);
  }
  const changed = changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
    const key = await lockUsableKey(tx, { vaultId: vault.id, name: ref.name });
    const before = await findChangeable(tx, key, { version, state });
    const id = { keyId: key.id, version };
    if (destroys) await destroyKeyVersion(tx, { ...id, at: ctx.now().getTime(), by: principalOf(caller) });
    else await setKeyVersionState(tx, { ...id, state });
    const after = (await findKeyVersion(tx, id))!;
    const changes = changesBetween({ state: before.state }, { state: after.state });
    const facts = { action: 'key.changeVersion', rule, resource, changes } as const;
    return { value: await withUses(ctx, tx, key, after), facts };
  });
  return changed.finally(() => ctx.keyMaterials.forget(vault.id));
}

/** A version whose state may become `state`. */
async function findChangeable(
  db: Queryable,
  key: KeyRow,
  { version, state }: { version: number; state: KeyVersionState },
): Promise<KeyVersionRow> {
  const destroys = state === 'destroyed';
  const row = await findKeyVersion(db, { keyId: key.id, version });
  if (!row) throw versionNotThere();
  if (row.state === 'destroyed' && !destroys) throw isDestroyed(version);
  // A key without a newest version could do nothing, and every use of it would fail in another way.
  if (destroys && version === key.current_version) throw isNewest();
  return row;
}

async function withUses(ctx: VaultContext, db: Queryable, key: KeyRow, row: KeyVersionRow): Promise<KeyVersion> {
  const { version } = row;
  const since = dayOf(ctx.now().getTime() - 30 * DAY_MS);
  const uses = await listKeyUses(db, { keyId: key.id, versions: { from: version, to: version }, since });
  const who = await namesOf(db, [...principalsOf(row), ...uses.map((use) => use.last_used_by)]);
  return toVersion(key, row, { who, material: undefined, uses });
}

function versionNotThere(): AppError {
  return new AppError('not_found', 'the key has no such version', { rule: 'no-such-key-version' });
}

function isDestroyed(version: number): AppError {
  return new AppError('gone', `version ${version} was destroyed`, { rule: 'key-version-destroyed' });
}

function isNewest(): AppError {
  const message = 'the newest version cannot be destroyed: rotate the key first';
  return new AppError('conflict', message, { rule: 'key-newest' });
}
