import { changesBetween } from '@cardea/contracts/audit-changes';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Audited } from '@cardea/contracts/audited';
import { callerKey } from '@cardea/contracts/caller-key';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { KeyDerivation } from '@cardea/crypto/keys/derive-key';
import type { KeyAlgorithm } from '@cardea/crypto/keys/key-algorithms';
import { holdsPrivate, importKeyMaterial, importPublicKey, readKeyMaterial } from '@cardea/crypto/keys/key-material';
import { unwrapKey } from '@cardea/crypto/keys/key-wrap';
import type { Transaction } from '@cardea/storage/db';
import { authorize, authorizeAll, principalOf } from '../../authorize.ts';
import type { Allowed } from '../../authorize.ts';
import { changeInVaults } from '../../change-in-vaults.ts';
import type { VaultContext } from '../../context.ts';
import { openForSystem } from '../../deks/system-sealing.ts';
import { keyNotThere } from '../../not-there.ts';
import type { NewMaterial } from '../add-key-version.ts';
import { addKey, nameTaken } from '../create-key.ts';
import { toKey, toPublicHalf } from '../key.ts';
import type { KeyRef, KeyWithPublicHalf } from '../key.ts';
import { findKey } from '../key-store.ts';
import type { KeyRow } from '../key-store.ts';
import { addNewestVersion } from '../rotate-key.ts';
import { cannot } from '../use/algorithm-refusal.ts';
import { lockUsableKey, publicOnly } from '../usable-key.ts';
import { WRAPPING_ALGORITHM, importJobId } from './import-jobs.ts';
import { IMPORT_KIND, findImportJob, useUpImportJob } from './import-job-store.ts';

/** A secret or private key under a wrapping key. */
export interface WrappedKey {
  importToken: string;
  wrapped: Uint8Array;
  /** How the key derives others; undefined if it does not. A key that exists is asked for with the derivation it has. */
  derivation?: KeyDerivation | undefined;
}

/** What an import brings. */
export type ImportedKey = KeyRef & { algorithm: KeyAlgorithm } & (WrappedKey | { publicKeyPem: string });

/** A key that got a version from elsewhere. */
export type KeyAfterImport = KeyWithPublicHalf & { isNew: boolean };

/**
 * Imports a key, or the newest version of one. A wrapping key is used up by whatever import reaches it, in the very
 * transaction that adds the version: a crash leaves both or neither.
 * @throws AppError `not_found`, `access_denied`; `conflict`; `invalid_request`
 */
export async function importKey(
  ctx: VaultContext,
  caller: Caller,
  asked: ImportedKey,
): Promise<Audited<KeyAfterImport>> {
  const { vault } = await authorize(ctx, caller, 'key.import', asked);
  const known = await findKey(ctx.db, { vaultId: vault.id, name: asked.name });
  // Another version signs and encrypts from then on, as after a rotation.
  const allowed = known
    ? await authorizeAll(ctx, caller, ['key.import', 'key.rotate'], asked)
    : await authorize(ctx, caller, 'key.import', asked);
  if ('publicKeyPem' in asked) {
    const stored = importPublicKey(asked.algorithm, asked.publicKeyPem);
    if (!stored) throw noKeyOf(asked.algorithm);
    const material = { stored, ready: readKeyMaterial(asked.algorithm, stored) };
    return change(ctx, caller, { asked, allowed, known, material, importJob: undefined });
  }
  const importJob = importJobId(caller, vault.id, asked.importToken);
  const stored = await unwrap(ctx, caller, asked, importJob);
  try {
    const material = { stored, ready: readKeyMaterial(asked.algorithm, stored) };
    return await change(ctx, caller, { asked, allowed, known, material, importJob });
  } finally {
    stored.fill(0);
  }
}

/** The material as it is stored. The caller overwrites it. */
async function unwrap(
  ctx: VaultContext,
  caller: Caller,
  { algorithm, wrapped }: WrappedKey & { algorithm: KeyAlgorithm },
  id: string,
): Promise<Uint8Array> {
  const job = await findImportJob(ctx.db, id);
  if (!job) throw tokenRefused('import-token-unknown');
  if (job.expires_at <= ctx.now().getTime()) throw tokenRefused('import-token-expired');
  if (job.ciphertext === null) throw tokenRefused('import-token-used');
  const reread = async () => (await findImportJob(ctx.db, id))?.ciphertext;
  const opened = await openForSystem(ctx, { kind: IMPORT_KIND, id }, { ciphertext: job.ciphertext, reread });
  let bytes: Uint8Array | undefined;
  try {
    const { key } = readKeyMaterial(WRAPPING_ALGORITHM, opened);
    bytes = await ctx.slowWork.use(callerKey(caller), () => unwrapKey(key, wrapped));
    const stored = bytes && importKeyMaterial(algorithm, bytes);
    if (stored) return stored;
  } finally {
    opened.fill(0);
    bytes?.fill(0);
  }
  // Nobody tries again under the same key: many tries could tell what another has wrapped.
  await ctx.db.lockingTransaction({ by: callerKey(caller) }, (tx) => useUpImportJob(tx, id));
  if (bytes) throw noKeyOf(algorithm);
  throw new AppError('invalid_request', 'the key was not wrapped under this wrapping key', { rule: 'import-unwrap' });
}

interface Import {
  asked: ImportedKey;
  allowed: Allowed;
  known: KeyRow | undefined;
  material: NewMaterial;
  /** The id of the wrapping key. Undefined for a public key. */
  importJob: string | undefined;
}

function change(
  ctx: VaultContext,
  caller: Caller,
  { asked, allowed, known, material, importJob }: Import,
): Promise<Audited<KeyAfterImport>> {
  const { vault, rule } = allowed;
  return changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
    if (importJob !== undefined && !(await useUpImportJob(tx, importJob))) throw tokenRefused('import-token-used');
    const [at, by] = [ctx.now().getTime(), principalOf(caller)];
    const before = known && (await lockSameKey(tx, { vaultId: vault.id, known, asked, material }));
    const newKey = { ...asked, exportable: false, deletionProtection: false };
    const { key, facts } = before
      ? await addNewestVersion(ctx, tx, { vault, before, material, at, by })
      : await addKey(ctx, tx, { vault, asked: newKey, material, at, by });
    const publicHalf = toPublicHalf({ ...key, version: key.current_version }, material.ready.publicKey);
    const changes = changesBetween(before ? fieldsOf(before) : {}, fieldsOf(key));
    const value = { ...toKey(key), publicHalf, isNew: before === undefined };
    return { value, facts: { ...facts, action: 'key.import', rule, changes } };
  });
}

function fieldsOf({ algorithm, derivation, public_only, current_version: currentVersion }: KeyRow) {
  return { algorithm, derivation: derivation ?? undefined, publicOnly: public_only === 1, currentVersion };
}

async function lockSameKey(
  tx: Transaction,
  { vaultId, known, asked, material }: { vaultId: string; known: KeyRow } & Pick<Import, 'asked' | 'material'>,
): Promise<KeyRow> {
  const key = await lockUsableKey(tx, { vaultId, name: asked.name });
  // A key that was made meanwhile under the same name is another one.
  if (key.id !== known.id) throw keyNotThere();
  if (key.algorithm !== asked.algorithm) throw cannot(key.algorithm, `takes no version of ${asked.algorithm}`);
  const derivation = 'wrapped' in asked ? (asked.derivation ?? null) : null;
  if (key.derivation !== derivation) throw derivesOtherwise(key.derivation);
  const isPublic = !holdsPrivate(material.ready);
  if (key.public_only === 1 && !isPublic) throw publicOnly();
  if (key.public_only === 0 && isPublic) throw nameTaken();
  return key;
}

function derivesOtherwise(derivation: KeyDerivation | null): AppError {
  const message = derivation === null ? 'the key derives no keys' : `the key derives keys by ${derivation}`;
  return new AppError('conflict', `${message}: import this version with the same derivation`, { rule: 'key-context' });
}

function tokenRefused(rule: AuditRule): AppError {
  const message = 'the import token was used, has expired, or was not made for you and this vault: make another one';
  return new AppError('conflict', message, { rule });
}

function noKeyOf(algorithm: KeyAlgorithm): AppError {
  return new AppError('invalid_request', `these bytes are no key of ${algorithm}`, { rule: 'import-key' });
}
