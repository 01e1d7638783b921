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

/** Text without NUL, which PostgreSQL cannot store, and without lone surrogates, which UTF-8 cannot encode. */
export const Text = z
  .string()
  .refine((text) => text.isWellFormed() && !text.includes('\0'), 'must be well-formed text without NUL');

/**
 * Standard base64 (RFC 4648 section 4) in its one spelling. The bits that a last character does not need are 0: a decoder
 * drops them, and what was sent would come back changed.
 */
export const Base64 = z
  .base64('must be standard base64')
  .refine((text) => !/(?:[^AQgw]==|[^AEIMQUYcgkosw048=]=)$/.test(text), 'must be standard base64 without spare bits');

/**
 * Text that people read in the audit log: without control characters, lone surrogates, line separators, and the characters
 * that change the direction of text. With these a text could look like another one, or like two lines of the log. Every
 * free text that goes into a record must match it.
 */
export const printable = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*$/u;

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

/** The query of a list whose cursor only its feature can check, because it holds more than one key. */
export const Page = z.strictObject({
  limit: WholeNumberOr(100, { min: 1, max: 500 }),
  cursor: z.string().max(1024).optional(),
});

/**
 * The query of a list whose cursor is the key of the last item of a page. An empty cursor is the start. A cursor of
 * another form is refused: the client took it from another list, and would get a page from somewhere.
 */
export function PageAfter(key: z.ZodType) {
  const isCursor = (cursor: string) => cursor === '' || key.safeParse(cursor).success;
  return Page.extend({ cursor: z.string().max(1024).refine(isCursor, NO_CURSOR).optional() });
}

/** The message about a cursor that is none of the list's. */
export const NO_CURSOR = 'is not a cursor of this list';

/** The id of an item as the key of a list: lists by id are in the order of its lower-case text. */
export const IdKey = z.uuid().lowercase();

/** A page of a list. It has a `nextCursor` if there are more items. */
export function PageOf<T extends z.ZodType>(item: T) {
  return z.strictObject({ items: z.array(item), nextCursor: z.string().optional() });
}
