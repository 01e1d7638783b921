/** Names from `from` on and before `to`, by their bytes. */
export interface NameRange {
  from: string;
  to: string;
}

/**
 * The names that begin with `prefix`, are covered by the path prefix of a grant, and do not come before `from`: as
 * ranges in order, of which none is empty.
 */
export function nameRanges({
  prefix = '',
  pathPrefix,
  from = '',
}: {
  prefix?: string | undefined;
  pathPrefix?: string | undefined;
  from?: string | undefined;
}): NameRange[] {
  const begin = from > prefix ? from : prefix;
  const end = endOf(prefix);
  return coveredBy(pathPrefix)
    .map((range) => ({ from: range.from > begin ? range.from : begin, to: range.to < end ? range.to : end }))
    .filter((range) => range.from < range.to);
}

// `apps` covers `apps` and what is below `apps/`. What lies between them, `apps-2` say, may be any number of names.
function coveredBy(pathPrefix: string | undefined): NameRange[] {
  if (pathPrefix === undefined) return [{ from: '', to: endOf('') }];
  return [
    { from: pathPrefix, to: justAfter(pathPrefix) },
    { from: `${pathPrefix}/`, to: endOf(`${pathPrefix}/`) },
  ];
}

/** Comes after a name and before every longer one: what names are made of comes after `!`. */
export function justAfter(name: string): string {
  return `${name}!`;
}

/** Comes after all that begins so, be it names or words: what they are made of comes before `~`. */
export function endOf(prefix: string): string {
  return `${prefix}~`;
}
