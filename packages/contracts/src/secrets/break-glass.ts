import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { SECRET_PATH, SecretValue, oneSecret, printable } from './secret-shapes.ts';

/** The least number of characters of a reason. */
export const REASON_CHARACTERS_MIN = 10;

export const breakGlass = endpoint({
  ...oneSecret,
  method: 'POST',
  path: `${SECRET_PATH}:breakGlass`,
  action: 'secret.breakGlass',
  summary:
    'Read a value for oversight, with a reason. The audit log flags the read, and the owners of the vault are told.',
  statuses: [200],
  body: z.strictObject({
    reason: z
      .string()
      .max(512)
      .regex(printable, 'must be printable')
      // Invisible characters do not count.
      .refine(
        (text) => text.replaceAll(/\p{Cf}/gu, '').trim().length >= REASON_CHARACTERS_MIN,
        'must have at least 10 characters',
      ),
  }),
  response: SecretValue,
});
