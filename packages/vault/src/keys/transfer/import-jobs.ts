import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { DAY_MS, HOUR_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import { randomSecret, sha256Hex } from '@cardea/crypto/ids';
import type { JobRun } from '@cardea/jobs/queue';
import { authorize, principalOf } from '../../authorize.ts';
import { changeInVaults } from '../../change-in-vaults.ts';
import type { VaultContext } from '../../context.ts';
import { sealForSystem } from '../../deks/system-sealing.ts';
import { removePages } from '../../sweep.ts';
import { withNewMaterial } from '../add-key-version.ts';
import { IMPORT_KIND, countImportJobs, insertImportJob, removeExpiredImportJobs } from './import-job-store.ts';

/** The wrapping keys are of this algorithm. */
export const WRAPPING_ALGORITHM = 'rsa-4096';

const KEPT_MS = DAY_MS;
// For so long, a record says that a wrapping key has expired, and not that nobody knows it.
const KNOWN_MS = HOUR_MS;
const PER_PRINCIPAL_MAX = 1_000;
const TOKEN_BYTES = 32;

/** A key that wraps one import. */
export interface ImportJob {
  wrappingKeyPem: string;
  /** Names the wrapping key, for this caller and this vault only. */
  importToken: string;
  expiresAt: Date;
}

/** Makes a wrapping key for one import. @throws AppError `not_found`, `access_denied`; `conflict` if the caller has too many */
export async function createImportJob(
  ctx: VaultContext,
  caller: Caller,
  ref: { vault: string },
): Promise<Audited<ImportJob>> {
  const allowed = await authorize(ctx, caller, 'key.import', ref);
  const { vault, rule } = allowed;
  const importToken = randomSecret(TOKEN_BYTES);
  const id = importJobId(caller, vault.id, importToken);
  return withNewMaterial(ctx, caller, WRAPPING_ALGORITHM, (material) =>
    changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
      const [createdAt, createdBy] = [ctx.now().getTime(), principalOf(caller)];
      if ((await countImportJobs(tx, createdBy)) >= PER_PRINCIPAL_MAX) throw tooMany();
      const sealed = await sealForSystem(ctx, tx, { kind: IMPORT_KIND, id }, material.stored);
      const expiresAt = createdAt + KEPT_MS;
      await insertImportJob(tx, { id, vaultId: vault.id, createdBy, createdAt, expiresAt, ...sealed });
      const wrappingKeyPem = material.ready.publicKey!.export({ type: 'spki', format: 'pem' });
      const facts = { action: 'key.importJob', rule, resource: { vault: vault.name, vaultId: vault.id } } as const;
      return { value: { wrappingKeyPem, importToken, expiresAt: new Date(expiresAt) }, facts };
    }),
  );
}

/** The row and the context of a wrapping key. With the token of another vault or another caller, it is another id. */
export function importJobId(caller: Caller, vaultId: string, importToken: string): string {
  return `${vaultId}/${principalOf(caller)}/${sha256Hex(importToken)}`;
}

/** Removes wrapping keys that have expired. */
export async function sweepImportJobs(ctx: VaultContext, run: JobRun): Promise<void> {
  const before = ctx.now().getTime() - KNOWN_MS;
  await removePages(ctx, run, (tx, limit) => removeExpiredImportJobs(tx, { before, limit }));
}

function tooMany(): AppError {
  const message = `a caller may have made ${PER_PRINCIPAL_MAX} wrapping keys at most within a day`;
  return new AppError('conflict', message, { rule: 'quota' });
}
