/** Names from `from` (included) to `to` (excluded), compared by their bytes. */
export interface NameRange {
  from: string;
  to: string;
}

/**
 * The ranges of names that begin with `prefix`, are covered by the path prefix of a grant, and do not come before
 * `from`. The ranges are in order, and none is empty.
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

// `apps` covers `apps` and the names under `apps/`. Any number of other names may lie between the two: `apps-2`, say.
function coveredBy(pathPrefix: string | undefined): NameRange[] {
  if (pathPrefix === undefined) return [{ from: '', to: endOf('') }];
  return [
    { from: pathPrefix, to: justAfter(pathPrefix) },
    { from: `${pathPrefix}/`, to: endOf(`${pathPrefix}/`) },
  ];
}

/** A text that sorts after a name and before every longer one: all characters of names sort after `!`. */
export function justAfter(name: string): string {
  return `${name}!`;
}

/** A text that sorts after all names or words with this prefix: all their characters sort before `~`. */
export function endOf(prefix: string): string {
  return `${prefix}~`;
}
