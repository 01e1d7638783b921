import { AppError } from '@cardea/contracts/errors';
import { BULK_MAX } from '@cardea/contracts/secrets/bulk';
import { nameRanges } from '../../name-ranges.ts';
import type { NameRange } from '../../name-ranges.ts';
import { secretNotThere } from '../../not-there.ts';
import type { SecretRow } from '../secret-store.ts';

/**
 * The secret called `prefix`, if it exists, and all secrets under it, as `list` returns them. `advice` says what to do
 * if there are more than BULK_MAX.
 * @throws AppError `not_found` if there are none; `too_large`
 */
export async function listUnder(
  list: (part: { range: NameRange; limit: number }) => Promise<SecretRow[]>,
  { prefix, advice }: { prefix: string; advice: string },
): Promise<SecretRow[]> {
  const secrets: SecretRow[] = [];
  for (const range of nameRanges({ pathPrefix: prefix })) {
    secrets.push(...(await list({ range, limit: BULK_MAX + 1 })));
  }
  if (secrets.length === 0) throw secretNotThere('no secret has this name or prefix');
  if (secrets.length <= BULK_MAX) return secrets;
  throw tooMany(`${BULK_MAX} secrets`, advice);
}

/** The error if a prefix has more secrets or versions than one request may change. */
export function tooMany(what: string, advice: string): AppError {
  return new AppError('too_large', `the prefix has more than ${what}: ${advice}`, { rule: 'bulk-size' });
}
