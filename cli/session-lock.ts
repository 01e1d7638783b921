import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Failure } from './failure.ts';

/** How long a command waits while another one of this user refreshes the same session, in milliseconds. */
const LOCK_WAIT_MS = 60_000;
/** A lock this old belongs to nobody: a refresh gives up long before. */
const LOCK_MS_MAX = 5 * 60_000;
/** Writing one line takes less than this. A file without it was left by a process that was killed in between. */
const WRITING_MS_MAX = 5_000;

/**
 * Makes a file that only one process can make, in a folder that exists. It holds the id of the process, which may have been
 * killed, and a nonce, because ids come again.
 *
 * @returns what removes the file, unless somebody else has taken the lock over
 * @throws Failure if another process holds it for a minute
 */
export async function lock(file: string): Promise<() => void> {
  const own = `${process.pid} ${randomUUID()}`;
  const giveUpAt = performance.now() + LOCK_WAIT_MS;
  for (;;) {
    // Read again: if this process was stopped before it wrote, the file may be another one by now.
    if (writeNew(file, own) && readIfThere(file) === own) {
      return () => {
        if (readIfThere(file) === own) rmSync(file, { force: true });
      };
    }
    if (isLeftOver(file)) removeLeftOver(file);
    else if (performance.now() > giveUpAt)
      throw new Failure(`another cardea holds ${file}. If none runs, remove the file`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The content of a file, or undefined if there is none. */
export function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * One process at a time judges and removes. Otherwise two could judge the same left-over, and the slower one would remove the
 * lock that the faster one has made since.
 */
function removeLeftOver(file: string): void {
  const turn = `${file}.turn`;
  if (!writeNew(turn, '')) {
    if (ageMs(turn) > WRITING_MS_MAX) rmSync(turn, { force: true });
    return;
  }
  try {
    if (isLeftOver(file)) rmSync(file, { force: true });
  } finally {
    rmSync(turn, { force: true });
  }
}

function isLeftOver(file: string): boolean {
  const age = ageMs(file);
  if (age > LOCK_MS_MAX) return true;
  const content = readIfThere(file);
  if (content === undefined) return false;
  const owner = Number(content.split(' ')[0]);
  if (!Number.isInteger(owner) || owner <= 0) return age > WRITING_MS_MAX;
  try {
    process.kill(owner, 0);
    return false;
  } catch (error) {
    // Without the right to ask, there is such a process.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** In either direction: the clock may have been ahead when the file was made. 0 if there is no file. */
function ageMs(file: string): number {
  const { mtimeMs } = statSync(file, { throwIfNoEntry: false }) ?? {};
  return mtimeMs === undefined ? 0 : Math.abs(Date.now() - mtimeMs);
}

/** Returns false if there is such a file. */
function writeNew(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
