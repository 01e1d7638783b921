import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { CannotStart } from './cannot-start.ts';
import { certificatesDue, isAnythingDue } from './certificates-due.ts';
import type { Say } from './child.ts';
import { whatItSaid } from './settings-check.ts';

/**
 * Makes or renews the certificates in `tlsDir` that are due, in a process of its own, so that the certificate library
 * never enters this one's memory. Services read the files again by themselves.
 *
 * @throws CannotStart with the sentence of certificates-due.ts or of the process that makes them.
 */
export async function renewCertificates(tlsDir: string, say: Say): Promise<void> {
  if (!isAnythingDue(certificatesDue(tlsDir, new Date()))) return;
  const script = fileURLToPath(new URL('make-certificates.ts', import.meta.url));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [script, tlsDir]);
    for (const line of stdout.trim().split('\n')) say(line);
  } catch (error) {
    throw new CannotStart(`the certificates could not be made: ${whatItSaid(error)}`, { cause: error });
  }
}

/** Does the same beside running services, where failing is not a reason to stop; says so and leaves it to the next try. */
export async function renewWhileRunning(tlsDir: string, say: Say): Promise<void> {
  try {
    await renewCertificates(tlsDir, say);
  } catch (error) {
    // The ones in use have 30 days left when this is first tried, so it is no reason to stop.
    say(
      `certificates were not renewed, next try in an hour: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
