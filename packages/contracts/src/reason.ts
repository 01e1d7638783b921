import { PrintableText } from './names.ts';

/** How long a reason must be to be one. */
const REASON_CHARACTERS_MIN = 10;

/** Why somebody does what is out of the ordinary; the audit log keeps it. */
export const Reason = PrintableText({ max: 512 })
  // Characters that nobody sees are none.
  .refine(
    (text) => text.replaceAll(/\p{Cf}/gu, '').trim().length >= REASON_CHARACTERS_MIN,
    'must have 10 characters or more',
  )
  .meta({ override: { minLength: REASON_CHARACTERS_MIN } });
