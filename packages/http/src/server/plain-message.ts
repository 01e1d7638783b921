import { unknownField } from '@cardea/contracts/unknown-field';
import type { z } from 'zod';

/** An error of one field, as zod reports it. */
type Issue = z.core.$ZodRawIssue;

const kinds: Record<string, string> = {
  string: 'must be text',
  number: 'must be a number',
  int: 'must be a whole number',
  boolean: 'must be true or false',
  array: 'must be a list',
  object: 'must be an object',
  undefined: 'must not be given',
};

const formats: Record<string, string> = {
  datetime: 'must be a time in UTC, like 2030-01-31T12:00:00Z',
  uuid: 'must be a UUID',
};

/**
 * The message to a client about a wrong field whose schema has no message of its own. The message continues a sentence
 * that begins with the field's name. It never repeats a value that was sent, and of names only that of a field that is not known.
 */
export function plainMessage(issue: Issue): string {
  // If nothing was sent, the type that zod expects does not matter.
  if (issue.input === undefined && issue.code !== 'custom') return 'is required';
  switch (issue.code) {
    case 'invalid_type':
      return kinds[issue.expected] ?? 'is not valid';
    case 'invalid_value':
      return oneOf(issue.values);
    case 'invalid_format':
      return formats[issue.format] ?? 'does not have the right form';
    case 'too_small':
      if (issue.origin === 'string' && issue.minimum === 1) return 'must not be empty';
      return `must ${inUnits(issue.origin, `at least ${issue.minimum}`)}`;
    case 'too_big':
      return `must ${inUnits(issue.origin, `at most ${issue.maximum}`)}`;
    case 'unrecognized_keys':
      return unknownField(issue.keys[0] ?? '');
    case 'not_multiple_of':
    case 'invalid_union':
    case 'invalid_key':
    case 'invalid_element':
    case 'custom':
      break;
  }
  return 'is not valid';
}

function oneOf(values: readonly unknown[]): string {
  return values.length === 1 ? `must be ${String(values[0])}` : `must be one of ${values.join(', ')}`;
}

function inUnits(origin: string, bound: string): string {
  if (origin === 'string') return `have ${bound} characters`;
  return origin === 'array' ? `have ${bound} entries` : `be ${bound}`;
}
