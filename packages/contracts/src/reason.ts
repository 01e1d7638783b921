import { z } from 'zod';
import { printable } from './names.ts';

/** How long a reason must be to be one. */
const REASON_CHARACTERS_MIN = 10;

/** Why somebody does what is out of the ordinary; the audit log keeps it. */
export const Reason = z
  .string()
  .max(512)
  .regex(printable, 'must be printable')
  // Characters that nobody sees are none.
  .refine(
    (text) => text.replaceAll(/\p{Cf}/gu, '').trim().length >= REASON_CHARACTERS_MIN,
    'must have 10 characters or more',
  );
