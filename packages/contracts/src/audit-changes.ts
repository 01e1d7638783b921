import { z } from 'zod';
import { formatMillis } from './audit-time.ts';

/** The most bytes of the changes of one event, as canonical JSON, so that the event fits into an entry. */
export const CHANGES_BYTES_MAX = 10_240;

const TEXT_CHARACTERS_MAX = 512;
const LIST_ITEMS_MAX = 64;
const ITEM_CHARACTERS_MAX = 64;
/** Long enough for a metadata key of 128 encoded characters, and its prefix. */
const FIELD = /^[a-z+][\x21-\x7e]{0,1199}$/;

const Value = z.union([
  z.string().max(TEXT_CHARACTERS_MAX),
  z.int(),
  z.boolean(),
  z.array(z.string().max(ITEM_CHARACTERS_MAX)).max(LIST_ITEMS_MAX),
]);

const Change = z.strictObject({
  /** Something was left out: part of a value, whole fields, or both values of a secret field. */
  cut: z.literal(true).optional(),
  /** Left out if the field was unset. */
  from: Value.optional(),
  /** Left out if the field is now unset. */
  to: Value.optional(),
});

/**
 * The changed fields with their old and new values. Never has a secret value. A field `+12`, which is always cut,
 * stands for twelve more fields that did not fit.
 */
export const AuditChanges = z
  .unknown()
  // z.record() silently drops this key. Input that does not fit must be refused, never dropped.
  .refine((value) => !Object.hasOwn(Object(value) as object, '__proto__'), 'must not have a field called __proto__')
  .pipe(
    z
      .record(z.string().regex(FIELD), Change)
      .refine((changes) => byteLength(changes) <= CHANGES_BYTES_MAX, `must have at most ${CHANGES_BYTES_MAX} bytes`),
  );

type Change = z.output<typeof Change>;
export type AuditChanges = z.output<typeof AuditChanges>;

declare const compared: unique symbol;

/** Changes that `changesBetween` has found: nothing else can be recorded. Empty if nothing has changed. */
export type ComparedFields = AuditChanges & { readonly [compared]: true };

/** The changes of something that has not changed. */
export const noChanges = {} as ComparedFields;

/** The fields of something that can change. Undefined means unset. */
export type AuditFields = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/**
 * The fields in which `after` differs from `before`, cut to the size of a record. Fields have the names that they have
 * in the API. `secret` names fields that have changed and whose values nobody may see, such as `password`.
 */
export function changesBetween(before: AuditFields, after: AuditFields, secret: string[] = []): ComparedFields {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after), ...secret])].sort();
  const differs = (name: string) => JSON.stringify(before[name]) !== JSON.stringify(after[name]);
  const touched = names.filter((name) => secret.includes(name) || differs(name));
  const changes = touched.map((name): [string, Change] => [
    name,
    secret.includes(name) ? { cut: true } : changeOf(before[name], after[name]),
  ]);
  return fitting(changes) as ComparedFields;
}

/** The fields that are set, with their values as a record shows them: cut where a record would cut them. */
export function recordedFields(fields: AuditFields): Record<string, Change['to']> {
  const set = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(set.map(([name, value]) => [name, cut(value)]));
}

/** A time in milliseconds since 1970 as the value of a field. Null means unset. */
export function timeField(millis: number | null | undefined): string | undefined {
  return millis === null || millis === undefined ? undefined : formatMillis(millis);
}

function changeOf(from: AuditFields[string], to: AuditFields[string]): Change {
  const [was, became] = [cut(from), cut(to)];
  // In the order of the canonical form, like the whole event.
  return {
    ...(was === from && became === to ? {} : { cut: true }),
    ...(was === undefined ? {} : { from: was }),
    ...(became === undefined ? {} : { to: became }),
  };
}

/** Returns the value itself if it needs no cut. */
function cut(value: AuditFields[string]): Change['from'] {
  if (typeof value === 'string') return cutText(value, TEXT_CHARACTERS_MAX);
  if (typeof value !== 'object') return value;
  const items = value.slice(0, LIST_ITEMS_MAX).map((item) => cutText(item, ITEM_CHARACTERS_MAX));
  const isWhole = items.length === value.length && items.every((item, index) => item === value[index]);
  return isWhole ? (value as string[]) : items;
}

// A cut in the middle of a surrogate pair would leave malformed text.
function cutText(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : text.slice(0, charactersMax).toWellFormed();
}

function fitting(changes: [string, Change][]): AuditChanges {
  if (byteLength(Object.fromEntries(changes)) <= CHANGES_BYTES_MAX) return Object.fromEntries(changes);
  const kept: [string, Change][] = [];
  let bytes = byteLength({ '+9999': { cut: true } });
  for (const change of changes) {
    bytes += byteLength(Object.fromEntries([change]));
    if (bytes > CHANGES_BYTES_MAX) break;
    kept.push(change);
  }
  return Object.fromEntries([[`+${changes.length - kept.length}`, { cut: true }], ...kept]);
}

function byteLength(changes: Record<string, Change>): number {
  return new TextEncoder().encode(JSON.stringify(changes)).length;
}
