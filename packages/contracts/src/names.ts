import { z } from 'zod';

/** The name of a user, an application or a vault. Names are compared exactly, so only one spelling is allowed. */
export const PlainName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._-]{0,62}$/,
    'must have 1 to 63 characters of a-z 0-9 . _ - and begin with a letter or digit',
  );

/** Segments joined by `/`. No segment is empty, `.` or `..`. No colon, because a colon begins a custom method. */
export const SecretName = z
  .string()
  .max(512, 'must have at most 512 characters')
  .regex(
    /^(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]{1,128}(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]{1,128})*$/,
    'must be segments joined by /, each of 1 to 128 characters of A-Z a-z 0-9 . _ - and none of them . or ..',
  );

/** A prefix of names of secrets, in whole segments: `db` means `db` and all names under `db/`. So does `db/`. */
export const SecretPrefix = z
  .string()
  .max(513, 'must have at most 512 characters, and a slash')
  .regex(
    /^(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]{1,128}(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]{1,128})*\/?$/,
    'must be segments joined by /, each of 1 to 128 characters of A-Z a-z 0-9 . _ - and none of them . or ..',
  )
  .transform((prefix) => (prefix.endsWith('/') ? prefix.slice(0, -1) : prefix))
  .refine((prefix) => prefix.length <= 512, 'must have at most 512 characters, and a slash');

/** One segment, so that a version can follow it in a path: not `.` or `..`. No colon, as for secrets. */
export const KeyName = z
  .string()
  .regex(
    /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}$/,
    'must have 1 to 128 characters of A-Z a-z 0-9 . _ - and not be . or ..',
  );

/** Text without NUL, which PostgreSQL cannot store, and without lone surrogates, which UTF-8 cannot encode. */
export const Text = z
  .string()
  .refine((text) => text.isWellFormed() && !text.includes('\0'), 'must be well-formed text without NUL');

/**
 * Standard base64 (RFC 4648 section 4) in its one spelling. The bits that a last character does not need are 0: a decoder
 * drops them, and what was sent would come back changed.
 */
export const Base64 = z
  .string()
  .regex(
    /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$/,
    'must be standard base64 without spare bits',
  );

/**
 * Text that people read in the audit log: without control characters, lone surrogates, line separators, and the characters
 * that change the direction of text. With these a text could look like another one, or like two lines of the log. Every
 * free text that goes into a record must be one.
 */
export function PrintableText({ max }: { max: number }) {
  return Text.max(max).regex(PRINTABLE, 'must be printable');
}

/** A text in a query, which has no control characters. */
export function QueryText({ max }: { max: number }) {
  return z.string().max(max).regex(WITHOUT_CONTROLS, 'must be without control characters');
}

// eslint-disable-next-line no-control-regex -- it refuses them
const WITHOUT_CONTROLS = /^[^\u0000-\u001f\u007f-\u009f]*$/u;

// Ranges instead of \p{Cc}, \p{Zl} and \p{Zp}, which many programs that read the OpenAPI document do not know.
// eslint-disable-next-line no-control-regex -- it refuses them
const PRINTABLE = /^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$/u;

/** The length of a new password in characters: code points of its NFKC form. */
export const PASSWORD_CHARACTERS = { min: 12, max: 128 } as const;

/**
 * A password that a user chooses. The schema refuses only what cannot be a password, because it does not know the
 * length in NFKC. `refuseBadPassword` checks that length; the OpenAPI document states it.
 */
export const NewPassword = Text.min(1)
  .max(1024)
  .meta({ override: { minLength: PASSWORD_CHARACTERS.min, maxLength: PASSWORD_CHARACTERS.max } });

/** A time in the REST interface: RFC 3339 in UTC. */
export const Time = z.iso.datetime();

/** For the document: a request says when something expires in one way. */
export const NOT_BOTH_EXPIRIES = { not: { required: ['ttlSeconds', 'expiresAt'] } };

/** A whole number in a query: decimal digits and nothing else. */
export function WholeNumber({ min, max }: { min: number; max: number }) {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.preprocess(fromDigits, z.int({ error }).min(min, error).max(max, error));
}

/** An optional whole number in a query. */
export function WholeNumberOr(fallback: number, range: { min: number; max: number }) {
  // The default is given twice: OpenAPI would leave it out, because the number is read from text.
  return WholeNumber(range)
    .default(fallback)
    .meta({ override: { default: fallback } });
}

// `Number` would also accept 0x10, 1e2, blanks around a number, and an empty text.
function fromDigits(text: unknown): unknown {
  return typeof text === 'string' && /^\d{1,16}$/.test(text) ? Number(text) : text;
}

/**
 * The query of a list. The cursor is the `nextCursor` of the page before, with the same parameters; an empty one is the
 * start. Its feature reads it: a cursor of another list, another vault or another filter is refused.
 */
export const Page = z.strictObject({
  limit: WholeNumberOr(100, { min: 1, max: 500 }),
  cursor: z.string().max(1024).optional(),
});

/** A page of a list. It has a `nextCursor` if there are more items. */
export function PageOf<T extends z.ZodType>(item: T) {
  return z.strictObject({ items: z.array(item), nextCursor: z.string().optional() });
}
