import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { PASSWORD_CHARACTERS } from '@cardea/contracts/names';

const { min: CHARACTERS_MIN, max: CHARACTERS_MAX } = PASSWORD_CHARACTERS;

/** The least number of characters that a password must have besides a name or a word that anybody would try. */
const OWN_CHARACTERS_MIN = 8;

/**
 * Returns what is wrong with a new password, as a sentence for the user; undefined if it is good. The rules follow NIST
 * SP 800-63B-4 section 3.1.1.2: a length of 12 to 128 characters (code points in NFKC, as it is hashed), nothing common
 * or expected, and no rules of composition. A common password stays common in another case, and with a few digits or
 * marks around it. The list of 49,233 passwords is read at the first call.
 */
export async function checkNewPassword(password: string, username: string): Promise<string | undefined> {
  const normalized = password.toWellFormed().normalize('NFKC');
  const length = characters(normalized);
  if (length < CHARACTERS_MIN || length > CHARACTERS_MAX)
    return `the password must have ${CHARACTERS_MIN} to ${CHARACTERS_MAX} characters`;

  const folded = normalized.toLowerCase();
  if (characters(folded.replace(username.normalize('NFKC').toLowerCase(), '')) < OWN_CHARACTERS_MIN)
    return 'the password must have more than the username and a few characters';
  if (characters(repeatedPart(folded)) < OWN_CHARACTERS_MIN)
    return 'the password must not repeat the same few characters';
  if (await isCommon(folded)) return 'the password must not be a common password, or nearly one';
  return undefined;
}

function characters(text: string): number {
  return Array.from(text).length;
}

/** `abc` for `abcabcabc`; the whole text if it does not repeat. */
function repeatedPart(text: string): string {
  return /^(?<part>.+?)\k<part>+$/su.exec(text)?.groups?.['part'] ?? text;
}

async function isCommon(folded: string): Promise<boolean> {
  const word = folded.replaceAll(/^\P{L}+|\P{L}+$/gu, '');
  const isDecorated = characters(folded) - characters(word) < OWN_CHARACTERS_MIN;
  const list = await commonPasswords();
  return [repeatedPart(folded), ...(isDecorated ? [word] : [])].some((text) => isListed(list, text));
}

function isListed(list: string, text: string): boolean {
  return !text.includes('\n') && list.includes(`\n${text}\n`);
}

const require = createRequire(import.meta.url);
let loaded: string | undefined;

// The list stays in memory. As one string it takes 0.7 MB, as a Set 2.8 MB. A search takes 0.2 ms, which is little
// compared with the hash that follows. The file is read, not imported, because an imported module is never freed.
async function commonPasswords(): Promise<string> {
  loaded ??= await readCommonPasswords();
  return loaded;
}

async function readCommonPasswords(): Promise<string> {
  const file = require.resolve('@zxcvbn-ts/language-common/src/passwords.json');
  const passwords = JSON.parse(await readFile(file, 'utf8')) as string[];
  return `\n${passwords.join('\n').toLowerCase()}\n`;
}
