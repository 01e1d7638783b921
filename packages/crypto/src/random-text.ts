import { randomInt } from 'node:crypto';

/**
 * Draws `length` characters from `alphabet` (2 to 65,536 different characters of one UTF-16 unit), all with the same
 * probability: randomInt of node:crypto has no bias.
 */
export function randomText(length: number, alphabet: string): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');
}
