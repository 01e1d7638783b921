import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import { authorize } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import { findLimitRight } from './limit-right.ts';
import type { SecretValue } from './secret.ts';
import { refuseTooLarge } from './value-size.ts';
import { writeVersion } from './write-version.ts';
import type { PutOptions, PutOutcome, Write } from './write-version.ts';

/**
 * Stores a value as the newest version. If the newest version has the identical value, no new version is made.
 * @throws AppError `precondition_failed`, `not_found`, `access_denied`, `invalid_request`, `too_large`, `sealed`, `unavailable`
 */
export async function putSecret(
  ctx: VaultContext,
  caller: Caller,
  ref: { vault: string; name: string },
  put: { value: SecretValue; options: PutOptions; conditions: Conditions },
): Promise<Audited<PutOutcome>> {
  const allowed = await authorize(ctx, caller, 'secret.write', ref);
  refuseTooLarge(ctx, put.value, 'body.value');
  const name = put.options.maxVersions === undefined ? undefined : ref.name;
  const limitRight = await findLimitRight(ctx, caller, { vault: ref.vault, name });
  const { vault, rule } = allowed;
  const write: Write = { vault, rule, action: 'secret.write', name: ref.name, ...put, limitRight };
  return changeInVaults(ctx, caller, { rights: [allowed, ...limitRight.rights] }, async (tx) => {
    const { outcome, facts } = await writeVersion(ctx, tx, caller, write);
    return { value: outcome, facts };
  });
}
