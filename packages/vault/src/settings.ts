import { z } from 'zod';
import type { VaultSettings } from './context.ts';
import { DAY_MS, HOUR_MS } from '@cardea/contracts/durations';

/** Settings of every service that runs the product's rules, by their variable names. */
export const vaultVariables = {
  /** How many days before its expiry a secret is announced: whole numbers separated by commas, or `none`. */
  CARDEA_EXPIRY_LEAD_DAYS: z
    .string()
    .regex(/^(none|\d{1,4}(,\d{1,4})*)$/, 'must be numbers of days, such as 30,7,1, or none')
    .default('30,7,1'),
  /** How many days the trash is kept. */
  CARDEA_TRASH_DAYS: z.coerce.number().int().min(1).max(3_650).default(30),
  /** After how many hours of use a DEK is rotated; 0 for never. */
  CARDEA_DEK_ROTATION_HOURS: z.coerce.number().int().min(0).max(8_760).default(12),
  /** How many days are between two KEK rotations; 0 for none by schedule. */
  CARDEA_KEK_ROTATION_DAYS: z.coerce.number().int().min(0).max(3_650).default(90),
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
  };
}
