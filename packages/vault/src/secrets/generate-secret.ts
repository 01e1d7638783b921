import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import { alphabets } from '@cardea/contracts/secrets/secrets';
import { randomText } from '@cardea/crypto/random-text';
import { authorize } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import { findLimitRight } from './limit-right.ts';
import { writeVersion } from './write-version.ts';
import type { PutOptions, PutOutcome, Write } from './write-version.ts';

/** Makes a random value and stores it as the newest version. Only callers that may read the secret can see it. */
export async function generateSecret(
  ctx: VaultContext,
  caller: Caller,
  ref: { vault: string; name: string },
  request: { length: number; alphabet: keyof typeof alphabets; options: PutOptions; conditions: Conditions },
): Promise<Audited<PutOutcome>> {
  const allowed = await authorize(ctx, caller, 'secret.write', ref);
  const name = request.options.maxVersions === undefined ? undefined : ref.name;
  const limitRight = await findLimitRight(ctx, caller, { vault: ref.vault, name });
  const { vault, rule } = allowed;
  const { length, alphabet, options, conditions } = request;
  const bytes = Buffer.from(randomText(length, alphabets[alphabet]));
  const value = { bytes, encoding: 'utf8' as const };
  const named = { vault, rule, action: 'secret.generate', name: ref.name } as const;
  const write: Write = { ...named, value, options, conditions, limitRight };
  try {
    return await changeInVaults(ctx, caller, { rights: [allowed, ...limitRight.rights] }, async (tx) => {
      const { outcome, facts } = await writeVersion(ctx, tx, caller, write);
      return { value: outcome, facts };
    });
  } finally {
    bytes.fill(0);
  }
}
