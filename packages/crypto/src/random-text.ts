import { randomInt } from 'node:crypto';

/**
 * `length` characters, each drawn from `alphabet` (2 to 65,536 different characters of one UTF-16 unit) with the same
 * probability: node:crypto's randomInt rejects what would favour some.
 */
export function randomText(length: number, alphabet: string): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');
}
