import { chown, mkdir, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { CannotStart, errorCode } from '../cannot-start.ts';
import { LockHeld, lockByFile } from '../data-folder-lock.ts';
import type { Progress } from './health.ts';

const SECOND_MS = 1_000;

/**
 * Locks the stack's folder for this run of the command, with the file `stack.pid`. A second run would take an upgrade that
 * is under way for one that was interrupted. So it waits: certbot starts its hook only once, and the operator of a
 * terminal can end the wait. Makes the folder if it is not there. Resolves with what unlocks it, which removes a folder in
 * which nothing was made.
 * @throws CannotStart if the other run does not end in time
 */
export async function lockStack(folder: string, { say, patienceSeconds }: Progress): Promise<() => Promise<void>> {
  // An upgrade builds, makes a backup, and may wait twice for containers: for the new version, and on the way back.
  const giveUpAt = performance.now() + 4 * patienceSeconds * SECOND_MS;
  let hasSaid = false;
  for (;;) {
    try {
      return await lock(folder);
    } catch (error) {
      // The run before has just removed the folder.
      if (errorCode(error) === 'ENOENT') continue;
      if (!(error instanceof LockHeld)) throw error;
      if (performance.now() > giveUpAt) {
        throw new CannotStart(`${error.message}: when it has ended, run this command again`, { cause: error });
      }
      if (!hasSaid) say(`${error.message}: waiting until it has ended`);
      hasSaid = true;
      await sleep(SECOND_MS / 4);
    }
  }
}

async function lock(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, 'stack.pid');
  const made = await mkdir(folder, { recursive: true, mode: 0o700 });
  const { release } = lockByFile(
    path,
    (pid) => `another run of this command works on ${folder} (process ${pid}, ${path})`,
  );
  // A run of root, as by certbot, must be seen by a run of the user whose stack it is.
  const { uid, gid } = await stat(folder);
  if (process.geteuid?.() === 0) await chown(path, uid, gid);
  return async () => {
    release();
    if (made !== undefined) await removeIfEmpty(folder, made);
  };
}

/** Removes a folder and those above it, up to `last`, as long as they are empty. */
async function removeIfEmpty(folder: string, last: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    if (!['ENOTEMPTY', 'ENOENT'].includes(errorCode(error) ?? '')) throw error;
    return;
  }
  if (folder !== last) await removeIfEmpty(dirname(folder), last);
}
