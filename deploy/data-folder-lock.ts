import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { CannotStart, errorCode } from './cannot-start.ts';

export interface DataFolderLock {
  /** True if the previous supervisor did not end in order. Its services may still be ending. */
  isTakenOver: boolean;
  /** Removes the lock if it still belongs to this process. */
  release: () => void;
}

/** A process that runs has locked the file. The message is that of the caller. */
export class LockHeld extends CannotStart {}

/** In the data folder while Cardea runs there, or a restore. */
export const DATA_FOLDER_LOCK = 'cardea.pid';

// The file is created and filled in two steps. An empty file younger than this belongs to a process between the steps.
const unfinishedMs = 2_000;

/**
 * Locks the data folder for this process with the file `cardea.pid`, as a restore into it does.
 * @throws CannotStart if a running Cardea uses the folder.
 */
export function lockDataFolder(dataDir: string): DataFolderLock {
  const path = join(dataDir, DATA_FOLDER_LOCK);
  return lockByFile(
    path,
    (pid) =>
      `the data folder is in use by another running Cardea (process ${pid}, lock file ${path}): ` +
      'stop that Cardea first, or set CARDEA_DATA_DIR to another folder and CARDEA_PORT to another port',
  );
}

/**
 * Makes a file that says that only this process works here. It holds the process id and the start time of the process.
 * After a restart of the machine another program may have the same process id, and in a container ids are nearly always
 * the same: the start time shows whether it is the process that made the file. The lock does not see processes on another
 * machine or in another container.
 *
 * @throws LockHeld if the process that made the file still runs, with what `inUse` says about it
 */
export function lockByFile(path: string, inUse: (pid: string) => string): DataFolderLock {
  const owner = `${process.pid} ${startTime(process.pid) ?? 'unknown'}\n`;

  let isTakenOver = false;
  while (!createExclusively(path, owner)) {
    removeStale(path, owner, inUse);
    isTakenOver = true;
  }
  return { isTakenOver, release: () => removeIfOwned(path, owner) };
}

function createExclusively(path: string, content: string): boolean {
  let file: number;
  try {
    file = openSync(path, 'wx', 0o600);
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
  writeSync(file, content);
  closeSync(file);
  return true;
}

function removeStale(path: string, owner: string, inUse: (pid: string) => string): void {
  const found = readIfThere(path);
  if (found === undefined) return;
  refuseIfAlive(path, found, inUse);

  // If two processes find the same stale file, only one succeeds in renaming it. The other may rename the new lock file
  // of the first. It sees that by the content, and puts the file back.
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  if (readFileSync(aside, 'utf8') === found) return rmSync(aside);
  renameSync(aside, path);
  refuseIfAlive(path, readIfThere(path) ?? owner, inUse);
}

function refuseIfAlive(path: string, found: string, inUse: (pid: string) => string): void {
  const [pid, startedAt] = found.trim().split(' ');
  if (isAlive(path, Number(pid), startedAt)) throw new LockHeld(inUse(pid || 'unknown'));
}

function isAlive(path: string, pid: number, startedAt: string | undefined): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return ageMs(path) < unfinishedMs;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM means that it runs as another user.
    if (errorCode(error) === 'ESRCH') return false;
  }
  const runningSince = startTime(pid);
  return runningSince === undefined || startedAt === 'unknown' || runningSince === startedAt;
}

/**
 * Returns when the process started: the id of the boot and the clock ticks since the boot (Linux, proc(5), field 22 of
 * stat). Undefined if there is no /proc.
 */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    // Field 2 is the program's name in parentheses. It may contain spaces, so count from the last parenthesis.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie is a process that has ended and whose parent has not read its exit code. It holds no lock or port.
    return state === 'Z' ? 'ended' : `${boot}/${fields[18]}`;
  } catch {
    return undefined;
  }
}

function ageMs(path: string): number {
  const modified = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  return modified === undefined ? Infinity : Math.abs(Date.now() - modified);
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function removeIfOwned(path: string, owner: string): void {
  if (readIfThere(path) === owner) rmSync(path);
}
