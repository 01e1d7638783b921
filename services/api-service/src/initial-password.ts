import { link, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StartError } from '@cardea/process/config';
import { syncFolder, writeNewFile } from '@cardea/process/durable-file';
import { readPrivateFile } from '@cardea/process/private-file';
import type { InitialPassword } from '@cardea/vault/users/first-admin';

/** The form of the passwords that Cardea makes: 144 random bits in base64url. */
const FORM = /^[A-Za-z0-9_-]{24}$/;

/**
 * Keeps the first password in a file that only its owner can read. If several processes start for the first time with
 * the same file, one of them makes it and the others use the password in it. The file is never seen half written.
 */
export function initialPasswordIn(file: string): InitialPassword {
  return {
    async keep(password) {
      await makeUnlessThere(file, `${password}\n`);
      const kept = await readPrivateFile({ path: file });
      if (FORM.test(kept)) return kept;
      throw new StartError(`The file ${file} has no password that Cardea made: delete the file and start again.`);
    },
    forget: () => rm(file, { force: true }),
  };
}

// A link to a complete file appears at once, and never replaces an existing file.
async function makeUnlessThere(file: string, content: string): Promise<void> {
  const temporary = `${file}.${crypto.randomUUID()}`;
  await writeNewFile(temporary, content, 0o600);
  try {
    await link(temporary, file);
    await syncFolder(dirname(file));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(temporary);
  }
}
