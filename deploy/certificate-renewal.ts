import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { CannotStart } from './cannot-start.ts';
import { certificatesDue, isAnythingDue } from './certificates-due.ts';
import type { Say } from './child.ts';
import { errorOutput } from './settings-check.ts';

/**
 * Makes or renews the certificates in `tlsDir` that are due. A separate process does the work, so that the certificate
 * library does not stay in the memory of this process. Services read the files again by themselves.
 *
 * @throws CannotStart with the message of certificates-due.ts or of the process that makes the certificates.
 */
export async function renewCertificates(tlsDir: string, say: Say): Promise<void> {
  if (!isAnythingDue(certificatesDue(tlsDir, new Date()))) return;
  const script = fileURLToPath(new URL('make-certificates.ts', import.meta.url));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [script, tlsDir]);
    for (const line of stdout.trim().split('\n')) say(line);
  } catch (error) {
    throw new CannotStart(`the certificates could not be made: ${errorOutput(error)}`, { cause: error });
  }
}

/** Does the same while services run. A failure is no reason to stop: it is printed, and the next try is in an hour. */
export async function renewWhileRunning(tlsDir: string, say: Say): Promise<void> {
  try {
    await renewCertificates(tlsDir, say);
  } catch (error) {
    // The certificates in use have 30 days left at the first try.
    say(
      `certificates were not renewed, next try in an hour: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
