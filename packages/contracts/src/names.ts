import { z } from 'zod';

/** A user, application or vault: compared exactly, so only one spelling is allowed. */
export const PlainName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'must be 1 to 63 of a-z 0-9 . _ - and begin with a letter or digit');

/** Segments joined by `/`. No segment is `.` or `..`, none is empty, there is no colon (custom methods end in one). */
export const SecretName = z
  .string()
  .max(512, 'must be at most 512 characters')
  .regex(
    /^(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]{1,128}(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]{1,128})*$/,
    'must be segments of 1 to 128 of A-Z a-z 0-9 . _ - joined by /, none of them . or ..',
  );

/** Text as people write it: no NUL, which PostgreSQL does not store, and no lone surrogate, which UTF-8 does not have. */
export const Text = z
  .string()
  .refine((text) => text.isWellFormed() && !text.includes('\0'), 'must be well-formed text without NUL');

/** How many characters a new password has, at least and at most: code points, once it is in NFKC. */
export const PASSWORD_CHARACTERS = { min: 12, max: 128 } as const;

/**
 * A password that somebody chooses. Only what is no password at all is refused by its shape, since what counts is its
 * length in NFKC, of which a schema knows nothing; the document states the bounds that the rules of the product check.
 */
export const NewPassword = Text.min(1)
  .max(1024)
  .meta({ override: { minLength: PASSWORD_CHARACTERS.min, maxLength: PASSWORD_CHARACTERS.max } });

/** RFC 3339 UTC, as the REST interface writes times. */
export const Time = z.iso.datetime();

/** A whole number in a query: decimal digits and nothing else. */
export function WholeNumber({ min, max }: { min: number; max: number }) {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.preprocess(fromDigits, z.int({ error }).min(min, error).max(max, error));
}

/** A whole number in a query that need not be given. */
export function WholeNumberOr(fallback: number, range: { min: number; max: number }) {
  // Said twice, since a document leaves the default out of what was read from text.
  return WholeNumber(range)
    .default(fallback)
    .meta({ override: { default: fallback } });
}

// `Number` would also take 0x10, 1e2, blanks around a number, and nothing at all.
function fromDigits(text: unknown): unknown {
  return typeof text === 'string' && /^\d{1,16}$/.test(text) ? Number(text) : text;
}

export const Page = z.strictObject({
  limit: WholeNumberOr(100, { min: 1, max: 500 }),
  cursor: z.string().max(1024).optional(),
});

/** One page of a list, and where the next one begins. */
export function PageOf<T extends z.ZodType>(item: T) {
  return z.strictObject({ items: z.array(item), nextCursor: z.string().optional() });
}
