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

/** RFC 3339 UTC, as the REST interface writes times. */
export const Time = z.iso.datetime();

export const Page = z.strictObject({
  limit: z.coerce.number().int().min(1).max(500).default(100),
  cursor: z.string().max(1024).optional(),
});
