import { changesBetween } from '@cardea/contracts/audit-changes';
import type { AuditFields } from '@cardea/contracts/audit-changes';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { uuidv7 } from '@cardea/crypto/ids';
import { UniqueViolation } from '@cardea/storage/db';
import type { VaultRow } from '../access-store.ts';
import { authorize, authorizeSystem, principalOf } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { fromCursor } from '../cursor.ts';
import type { ListId } from '../cursor.ts';
import type { Granted } from '../decide.ts';
import { insertDek } from '../deks/dek-store.ts';
import { wrapNewDek } from '../deks/new-dek.ts';
import { upsertGrant } from '../grants/grant-store.ts';
import { groundOf, listLiveGrants } from '../grants/live-grants.ts';
import { vaultNotThere } from '../not-there.ts';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { audited, changed } from '../record.ts';
import { rightByRole } from '../right.ts';
import { refuseTooManyVaults } from '../quotas.ts';
import { findVault, insertVault, listVaultRows, updateVault } from './vault-store.ts';
import type { VaultChange } from './vault-store.ts';

export interface Vault {
  id: string;
  name: string;
  description: string;
  /** How many versions are kept of a secret that has no limit of its own. */
  maxVersions: number;
  /** Whether everybody may read the public halves of its keys. */
  publicJwks: boolean;
  createdAt: Date;
}

const ownership: Granted = { owner: true, secrets: [], keys: [], allowedCidrs: [] };

/** Makes a vault with its first DEK. The creator owns it. @throws AppError `conflict` if the name is taken, or by a quota */
export async function createVault(
  ctx: VaultContext,
  caller: Caller,
  { name, description, maxVersions }: { name: string; description: string; maxVersions: number },
): Promise<Audited<Vault>> {
  const { rule } = authorizeSystem(ctx, caller, 'vault.create');

  const id = uuidv7(ctx.now().getTime());
  const wrapped = await wrapNewDek(ctx, { vaultId: id, dekVersion: 1 });
  const createdAt = ctx.now().getTime();
  const vault = { id, name, description, max_versions: maxVersions, public_jwks: 0 as const, created_at: createdAt };
  try {
    return await changed(ctx, caller, async (tx) => {
      await insertVault(tx, { ...vault, created_by: caller.actor.id });
      await insertDek(tx, { vaultId: id, dekVersion: 1 }, wrapped, createdAt);
      const grant = { vaultId: id, principal: principalOf(caller), createdAt, createdBy: caller.actor.id };
      await upsertGrant(tx, { ...grant, granted: ownership });
      await refuseTooManyVaults(ctx, tx, caller.actor.id);
      const resource = { vault: name, vaultId: id };
      const changes = changesBetween({}, vaultFields(vault));
      return { value: toVault(vault), facts: { action: 'vault.create', resource, rule, changes, dekVersion: 1 } };
    });
  } catch (error) {
    if (error instanceof UniqueViolation)
      throw new AppError('conflict', 'a vault with this name exists already', { cause: error });
    throw error;
  }
}

const VAULTS: ListId = ['vaults'];

/** The vaults the caller may see, by name. */
export async function listVaults(
  ctx: VaultContext,
  caller: Caller,
  { limit, cursor }: PageRequest,
): Promise<Audited<Page<Vault>>> {
  const [after] = fromCursor(VAULTS, cursor, ['']);
  const { role } = caller;
  const seesAll = role === 'admin' || role === 'ceo';
  const rule: AuditRule = seesAll ? `role:${role}` : 'grant:any';
  const byRole = rightByRole(ctx, caller, rule);
  const rows = seesAll
    ? (await listVaultRows(ctx.db, { after, limit: limit + 1 })).map((vault) => ({ vault, right: byRole }))
    : (await listLiveGrants(ctx, caller)).filter(({ vault }) => vault.name > after).slice(0, limit + 1);
  const shown = pageOf(VAULTS, rows, limit, ({ vault }) => [vault.name]);
  const page = { ...shown, items: shown.items.map(({ vault }) => toVault(vault)) };
  return audited(
    ctx,
    caller,
    groundOf(shown.items.map(({ right }) => right)),
    { action: 'vault.list', rule, resource: { count: page.items.length } },
    () => page,
  );
}

export async function readVault(ctx: VaultContext, caller: Caller, name: string): Promise<Audited<Vault>> {
  const allowed = await authorize(ctx, caller, 'vault.read', { vault: name });
  const { vault, rule } = allowed;
  const resource = { vault: vault.name, vaultId: vault.id };
  return audited(ctx, caller, [allowed], { action: 'vault.read', rule, resource }, () => toVault(vault));
}

/** Changes the given fields. @throws AppError `not_found`, `access_denied` */
export async function changeVault(
  ctx: VaultContext,
  caller: Caller,
  name: string,
  change: VaultChange,
): Promise<Audited<Vault>> {
  const allowed = await authorize(ctx, caller, 'vault.manage', { vault: name });
  const { vault, rule } = allowed;
  return changed(
    ctx,
    caller,
    async (tx) => {
      const before = await findVault(tx, vault.id);
      const after = await updateVault(tx, { id: vault.id, ...change });
      if (!before || !after) throw vaultNotThere();
      const changes = changesBetween(vaultFields(before), vaultFields(after));
      const resource = { vault: vault.name, vaultId: vault.id };
      return { value: toVault(after), facts: { action: 'vault.change', rule, changes, resource } };
    },
    { rights: [allowed] },
  );
}

/** The fields of a change that an audit record shows. */
export function vaultFields({
  description,
  max_versions: maxVersions,
  public_jwks,
}: Pick<VaultRow, 'description' | 'max_versions' | 'public_jwks'>): AuditFields {
  return { description, maxVersions, ...(public_jwks === 1 ? { publicJwks: true } : {}) };
}

function toVault(row: VaultRow): Vault {
  const { id, name, description, max_versions: maxVersions, created_at: createdAt } = row;
  return { id, name, description, maxVersions, publicJwks: row.public_jwks === 1, createdAt: new Date(createdAt) };
}
