import { link, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StartError } from '@cardea/process/config';
import { syncFolder, writeNewFile } from '@cardea/process/durable-file';
import type { InitialPassword } from '@cardea/vault/users/first-admin';

/** As Cardea makes them: 144 random bits in base64url. */
const FORM = /^[A-Za-z0-9_-]{24}\n$/;

/**
 * Keeps the first password in a file that only its owner reads. Of several processes that start for the first time with
 * the same file one makes it, whole from its first moment on, and the others take the password they find in it.
 */
export function initialPasswordIn(file: string): InitialPassword {
  return {
    async keep(password) {
      await makeUnlessThere(file, `${password}\n`);
      const kept = await readFile(file, 'utf8');
      if (FORM.test(kept)) return kept.trim();
      throw new StartError(`The file ${file} holds no password that Cardea has made: delete it, and start again.`);
    },
    forget: () => rm(file, { force: true }),
  };
}

// A link is made with its content or not at all, and never over a file that is there.
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
