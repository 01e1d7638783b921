import { DAY_MS, HOUR_MS } from '@cardea/contracts/durations';
import { SECRET_BYTES_HIGHEST, SECRET_BYTES_MAX } from '@cardea/contracts/secrets/secret-shapes';
import { wholeNumber } from '@cardea/process/config';
import type { VaultSettings } from '@cardea/vault/context';
import { z } from 'zod';

/** Settings of every service that runs the product's rules, by their variable names. */
export const vaultVariables = {
  /** How many days before its expiry a secret is announced: whole numbers separated by commas, or `none`. */
  CARDEA_EXPIRY_LEAD_DAYS: z
    .string()
    .regex(/^(none|\d{1,4}(,\d{1,4})*)$/, 'must be numbers of days, such as 30,7,1, or none')
    .default('30,7,1'),
  /** How many days the trash is kept. */
  CARDEA_TRASH_DAYS: wholeNumber({ min: 1, max: 3_650 }).default(30),
  /** After how many hours of use a DEK is rotated; 0 for never. */
  CARDEA_DEK_ROTATION_HOURS: wholeNumber({ min: 0, max: 8_760 }).default(12),
  /** How many days are between two KEK rotations; 0 for none by schedule. */
  CARDEA_KEK_ROTATION_DAYS: wholeNumber({ min: 0, max: 3_650 }).default(90),
  /** How many vaults that still exist one user may have made, whoever owns them now. */
  CARDEA_VAULTS_MADE_PER_USER: wholeNumber({ min: 1, max: 1_000_000 }).default(1_000),
  /** How many secrets one vault may hold, with those in the trash. */
  CARDEA_SECRETS_PER_VAULT: wholeNumber({ min: 1, max: 1_000_000_000 }).default(1_000_000),
  /** The most bytes of a value. */
  CARDEA_SECRET_BYTES_MAX: wholeNumber({ min: 1_024, max: SECRET_BYTES_HIGHEST }).default(SECRET_BYTES_MAX),
  /** How many keys one vault may hold, with those that wait for their destruction. */
  CARDEA_KEYS_PER_VAULT: wholeNumber({ min: 1, max: 1_000_000 }).default(10_000),
};

const Variables = z.object(vaultVariables);

/** Converts the variables to the units that the rules use. The receivers of webhooks are in a file of their own. */
export function toVaultSettings(variables: z.output<typeof Variables>): Omit<VaultSettings, 'webhooks'> {
  const { CARDEA_EXPIRY_LEAD_DAYS: leads, CARDEA_TRASH_DAYS: trashDays } = variables;
  const leadDays = leads === 'none' ? [] : leads.split(',').map(Number);
  return {
    expiryLeadsMs: leadDays.map((days) => days * DAY_MS),
    trashMs: trashDays * DAY_MS,
    dekRotationMs: variables.CARDEA_DEK_ROTATION_HOURS * HOUR_MS,
    kekRotationMs: variables.CARDEA_KEK_ROTATION_DAYS * DAY_MS,
    vaultsMadePerUser: variables.CARDEA_VAULTS_MADE_PER_USER,
    secretsPerVault: variables.CARDEA_SECRETS_PER_VAULT,
    secretBytesMax: variables.CARDEA_SECRET_BYTES_MAX,
    keysPerVault: variables.CARDEA_KEYS_PER_VAULT,
  };
}
