import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { SECRET_PATH, SecretValue, oneSecret, printable } from './secret-shapes.ts';

/** How long a reason must be to be one. */
export const REASON_CHARACTERS_MIN = 10;

export const breakGlass = endpoint({
  ...oneSecret,
  method: 'POST',
  path: `${SECRET_PATH}:breakGlass`,
  action: 'secret.breakGlass',
  summary: 'Oversight reads a value, for a reason, flagged in the audit log and announced to the owners of the vault.',
  statuses: [200],
  body: z.strictObject({
    reason: z
      .string()
      .max(512)
      .regex(printable, 'must be printable')
      // Characters that nobody sees are none.
      .refine(
        (text) => text.replaceAll(/\p{Cf}/gu, '').trim().length >= REASON_CHARACTERS_MIN,
        'must have 10 characters or more',
      ),
  }),
  response: SecretValue,
});
