import { AppError } from '@cardea/contracts/errors';
import { BULK_MAX } from '@cardea/contracts/secrets/bulk';
import { nameRanges } from '../../name-ranges.ts';
import type { NameRange } from '../../name-ranges.ts';
import { secretNotThere } from '../../not-there.ts';
import type { SecretRow } from '../secret-store.ts';

/**
 * The secret called `prefix`, if any, and all below it, as `list` answers them; `advice` says what to do where they are
 * more than BULK_MAX.
 * @throws AppError `not_found` if there is none; `too_large`
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

/** What is thrown where a prefix covers more of something than one request takes. */
export function tooMany(what: string, advice: string): AppError {
  return new AppError('too_large', `more than ${what} are below it: ${advice}`, { rule: 'bulk-size' });
}
