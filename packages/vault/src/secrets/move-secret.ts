import { joinRules } from '@cardea/contracts/audit-rules';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import { AppError } from '@cardea/contracts/errors';
import type { VaultAction } from '@cardea/contracts/grants';
import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { sha256Hex } from '@cardea/crypto/ids';
import type { Transaction } from '@cardea/storage/db';
import { reworded } from '../about-one.ts';
import type { VaultRow } from '../access-store.ts';
import { authorize, authorizeAll } from '../authorize.ts';
import type { Allowed } from '../authorize.ts';
import { requireConditions } from '../conditions.ts';
import type { VaultContext } from '../context.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import { useNewestDek } from '../deks/dek-store.ts';
import { refuseFullVault } from '../quotas.ts';
import { giveUpName } from './given-up-names.ts';
import { reindexSecret } from './listing/search-index.ts';
import { relocateSecret } from './move-store.ts';
import { countDependants } from '../dependants.ts';
import { requireNoCircle } from './references.ts';
import { listSealedVersions, replaceCiphertext } from './sealed-version-store.ts';
import { resealVersion } from './sealing.ts';
import type { VersionId } from './sealing.ts';
import { lockLiveSecret } from './secret-state.ts';
import { findSecret } from './secret-store.ts';
import type { SecretRow } from './secret-store.ts';
import { toSummary } from './summary.ts';
import type { SecretSummary } from './summary.ts';

/** A secret by vault and name, or all secrets under a prefix. */
export interface SecretPath {
  vault: string;
  name: string;
}

/** A secret after its move. */
export interface Moved {
  vault: string;
  secret: SecretSummary;
  /** How many references that the caller may list point to its old name. */
  dependants: number;
}

/** The old vault, the new vault, and the rule that allows the move. */
export interface MoveRights {
  from: VaultRow;
  to: VaultRow;
  rule: AuditRule;
  rights: [Allowed, Allowed];
}

/**
 * Gives a secret another name or vault, with all its versions, including those in the trash. Every value is opened and
 * sealed again, because a ciphertext is bound to its vault and name. Nothing else changes. References to the old name
 * stay as they are. The record has the version of the DEK that seals the values now. If the secret has only one
 * version, the record also has the hash of its ciphertext.
 * @throws AppError `not_found`, `access_denied`; `conflict` if the new name is taken, also by a secret in the trash, or
 * if the secret is a reference that would lead back to itself; `precondition_failed` if the secret has another version
 * at its old name; `sealed`, `unavailable`; IntegrityError if a version does not open
 */
export async function moveSecret(
  ctx: VaultContext,
  caller: Caller,
  { from, to, conditions }: { from: SecretPath; to: SecretPath; conditions: Conditions },
): Promise<Audited<Moved>> {
  const rights = await authorizeMove(ctx, caller, { from, to });
  const work = async (tx: Transaction) => {
    const secret = await lockLiveSecret(tx, { vaultId: rights.from.id, name: from.name });
    requireConditions(conditions, secret.current_version);
    const dekVersion = await useNewestDek(tx, rights.to.id, ctx.now().getTime());
    const moved = await moveTo(ctx, tx, { ...rights, dekVersion }, { secret, toName: to.name });
    await requireNoCircle(ctx, tx, caller, { vault: rights.to.name, name: to.name, secretId: secret.id });
    const { seen: dependants } = await countDependants(ctx, tx, caller, secret);
    const summary = toSummary({ ...secret, name: to.name, updated_at: ctx.now().getTime() });
    const resource = resourceOf(rights, from.name, to.name);
    const facts: EventFacts = { action: 'secret.move', resource, rule: rights.rule, ...sealOf(moved, dekVersion) };
    return { value: { vault: rights.to.name, secret: summary, dependants }, facts };
  };
  return changeInVaults(ctx, caller, { rights: rights.rights, whole: true, references: true }, work);
}

function sealOf(
  { versions, last }: SealedAgain,
  dekVersion: number,
): Pick<EventFacts, 'dekVersion' | 'ciphertextSha256'> {
  if (last === undefined) return {};
  return { dekVersion, ...(versions === 1 ? { ciphertextSha256: sha256Hex(last) } : {}) };
}

/**
 * A move needs the right to read at the source. With the rights to delete and to write alone, a caller could move a
 * value into a vault of their own and read it there. `more` lists further rights that the move needs at the source.
 */
export async function authorizeMove(
  ctx: VaultContext,
  caller: Caller,
  { from, to }: { from: SecretPath; to: SecretPath },
  more: VaultAction[] = [],
): Promise<MoveRights> {
  const take = await authorizeAll(ctx, caller, ['secret.read', 'secret.delete', ...more], from);
  const write = await authorize(ctx, caller, 'secret.write', to).catch((error: unknown) => {
    throw error instanceof AppError ? reworded(error, `the destination: ${error.message}`, {}) : error;
  });
  return { from: take.vault, to: write.vault, rule: joinRules([take.rule, write.rule]), rights: [take, write] };
}

/** The resource of a move in its record. A move of several secrets is named by its prefixes. */
export function resourceOf({ from, to }: MoveRights, name: string, toName: string) {
  return { vault: from.name, vaultId: from.id, name, toVault: to.name, toVaultId: to.id, toName };
}

/** The versions of a secret that a move has sealed again. */
export interface SealedAgain {
  versions: number;
  /** The newest ciphertext; undefined if all values are destroyed. */
  last: Uint8Array | undefined;
}

/** The error if a name is taken to which a secret would move. */
export function nameTaken(toName: string): AppError {
  const message = `${toName} is taken by another secret, which may be in the trash`;
  return new AppError('conflict', message, { rule: 'name-taken' });
}

/**
 * Moves one secret as part of a transaction. Without a DEK its values stay sealed as they are: for a transaction that is
 * rolled back. @throws DekNotLoaded, too
 */
export async function moveTo(
  ctx: VaultContext,
  tx: Transaction,
  { from, to, dekVersion }: MoveRights & { dekVersion: number | undefined },
  { secret, toName }: { secret: SecretRow; toName: string },
): Promise<SealedAgain> {
  if (await findSecret(tx, { vaultId: to.id, name: toName })) {
    throw nameTaken(toName);
  }
  if (from.id !== to.id) await refuseFullVault(ctx, tx, to.id);
  const secretId = secret.id;
  const sealed = await sealAgain(ctx, tx, {
    secretId,
    from: { vault: from, name: secret.name },
    to: { vault: to, name: toName },
    dekVersion,
  });
  await relocateSecret(tx, { id: secretId, vaultId: to.id, name: toName, updatedAt: ctx.now().getTime() });
  await giveUpName(tx, { vaultId: from.id, name: secret.name, version: secret.current_version });
  if (secret.live === 1) {
    const metadata = JSON.parse(secret.metadata) as Metadata;
    await reindexSecret(tx, ctx.db.engine, { vaultId: to.id, name: toName, secretId, metadata });
  }
  return sealed;
}

async function sealAgain(
  ctx: VaultContext,
  tx: Transaction,
  {
    secretId,
    from,
    to,
    dekVersion,
  }: { secretId: string; from: SealedAt; to: SealedAt; dekVersion: number | undefined },
): Promise<SealedAgain> {
  const versions = await listSealedVersions(tx, secretId);
  if (dekVersion === undefined) return { versions: versions.length, last: undefined };
  let last: Uint8Array | undefined;
  for (const sealed of versions) {
    const { version, ciphertext } = sealed;
    if (ciphertext === null) continue;
    const ids = { from: { ...from, secretId, version }, to: { ...to, secretId, version } };
    last = resealVersion(ctx, { ...ids, dekVersion }, { ...sealed, ciphertext });
    if (!(await replaceCiphertext(tx, { secretId, version, from: ciphertext, to: last, dekVersion }))) throw outrun();
  }
  return { versions: versions.length, last };
}

type SealedAt = Pick<VersionId, 'vault' | 'name'>;

// This cannot happen as long as the secret is locked and a rotation holds the lock of the vault. The check makes sure that a move never overwrites what
// another request has written.
function outrun(): AppError {
  return new AppError('unavailable', 'another request changed the secret at the same time: repeat the call');
}
