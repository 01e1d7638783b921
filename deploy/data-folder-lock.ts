import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { CannotStart, errorCode } from './cannot-start.ts';

export interface DataFolderLock {
  /** A supervisor that did not end in order had the folder before; its services may be ending only now. */
  leftByAnother: boolean;
  /** Removes the lock, if it is still this process's own. */
  release: () => void;
}

// The file is created and filled in two steps; until it is this old an empty one belongs to a process in between.
const unfinishedMs = 2_000;

/**
 * Takes the data folder for this process with the file `cardea.pid`, which holds the process id and when the process
 * started. The start time tells a supervisor from a stranger that got its id after a restart of the machine, or of the
 * container, where ids are nearly always the same. Does not see processes on another machine or in another container.
 *
 * @throws CannotStart if a running Cardea has the folder.
 */
export function lockDataFolder(dataDir: string): DataFolderLock {
  const path = join(dataDir, 'cardea.pid');
  const owner = `${process.pid} ${startTime(process.pid) ?? 'unknown'}\n`;

  let leftByAnother = false;
  while (!createExclusively(path, owner)) {
    removeStale(path, owner);
    leftByAnother = true;
  }
  return { leftByAnother, release: () => removeIfStill(path, owner) };
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

function removeStale(path: string, owner: string): void {
  const found = readIfThere(path);
  if (found === undefined) return;
  refuseIfAlive(path, found);

  // Of two that find the same stale file only one succeeds in renaming it. The other may rename what the first has put
  // in its place, and sees by the content that it must put it back.
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  if (readFileSync(aside, 'utf8') === found) return rmSync(aside);
  renameSync(aside, path);
  refuseIfAlive(path, readIfThere(path) ?? owner);
}

function refuseIfAlive(path: string, found: string): void {
  const [pid, startedAt] = found.trim().split(' ');
  if (!isAlive(path, Number(pid), startedAt)) return;
  throw new CannotStart(
    `the data folder is in use by another running Cardea (process ${pid || 'unknown'}, by ${path}): ` +
      'stop that one first, or set CARDEA_DATA_DIR to another folder and CARDEA_PORT to another port',
  );
}

function isAlive(path: string, pid: number, startedAt: string | undefined): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return ageMs(path) < unfinishedMs;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it runs, as another user.
    if (errorCode(error) === 'ESRCH') return false;
  }
  const runningSince = startTime(pid);
  return runningSince === undefined || startedAt === 'unknown' || runningSince === startedAt;
}

/**
 * When the process started: the boot's id and the clock ticks since, as Linux counts them (proc(5), field 22 of stat).
 * Undefined where there is no /proc.
 */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    // Field 2 is the program's name in parentheses and may contain spaces, so count from the last parenthesis.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A process that has ended but whose parent has not asked how (a zombie) holds nothing any more.
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

function removeIfStill(path: string, owner: string): void {
  if (readIfThere(path) === owner) rmSync(path);
}
