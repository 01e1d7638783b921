import type { Conditions } from '@cardea/contracts/conditions';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import { AppError } from '@cardea/contracts/errors';

/** `current` is the newest visible version. @throws AppError `precondition_failed` if the write must not go on */
export function requireConditions(conditions: Conditions, current: number | undefined): void {
  const tag = current === undefined ? undefined : String(current);
  requireMatch({ ...conditions, ...ownVersions(conditions.ifMatch) }, tag);
  const { ifNoneMatch } = conditions;
  if (ifNoneMatch !== undefined && matches(ifNoneMatch, tag)) {
    throw failed(`the secret exists, in version ${tag}`, 'if-none-match');
  }
}

/** @throws AppError `precondition_failed` if the client wants a version other than the current one */
export function requireMatch({ ifMatch }: Conditions, tag: string | undefined): void {
  if (ifMatch === undefined || matches(ifMatch, tag)) return;
  throw failed(tag === undefined ? 'the secret does not exist' : `the version is ${tag}`, 'if-match');
}

/** Whether the client already has the version it asks for. */
export function isKnown({ ifNoneMatch }: Conditions, tag: string): boolean {
  return ifNoneMatch !== undefined && matches(ifNoneMatch, tag);
}

/** Whether the client gave the tag itself. `*` and a list of guesses match what the client does not know. */
export function namesOneTag({ ifNoneMatch }: Conditions): boolean {
  return Array.isArray(ifNoneMatch) && ifNoneMatch.length === 1;
}

function matches(tags: '*' | string[], tag: string | undefined): boolean {
  return tag !== undefined && (tags === '*' || tags.includes(tag));
}

// The tag of a followed reference also has the version of its target ("3-7"). A write is about the reference itself.
function ownVersions(tags: Conditions['ifMatch']): Conditions {
  if (tags === undefined || tags === '*') return {};
  return { ifMatch: tags.map((tag) => tag.replace(/^(\d+)-.*$/, '$1')) };
}

function failed(message: string, rule: AuditRule): AppError {
  return new AppError('precondition_failed', message, { rule });
}
