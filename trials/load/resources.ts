import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import type { Stack } from '../faults/stack.ts';

/** Caches and pools fill in the first minutes. */
export const WARM_UP_MINUTES = 2;
/** How much more a part of the system may hold at the end than after the warm-up. */
const MAY_GROW = { memoryMib: 64, memoryShare: 0.25, descriptors: 16 };

const POSTGRES = 'PostgreSQL';

/** What a part of the system holds now. The processes of one server are added up. */
export interface Held {
  /**
   * Resident memory. Of a page that several processes share, each counts its part, and shared buffers do not count: those
   * of PostgreSQL fill up to a fixed size.
   */
  memoryMib: number;
  /**
   * Open file descriptors. Of PostgreSQL only sockets count: each of its connections keeps the files open that it has
   * read, up to a fixed number (`max_files_per_process`).
   */
  descriptors: number;
}

/** Reads from /proc (Linux) what each part of the system holds, by name. */
export function readHeld({ full, nginx }: Stack): Map<string, Held> {
  const { postgres, redis } = full.stores;
  const services = [...full.processes.values()].map(({ name, pid }): [string, number[]] => [name, [pid()]]);
  const servers: [string, number[]][] = [
    ['nginx', nginx.pids()],
    [POSTGRES, postgres.pids()],
    ['Redis', [redis.pid()]],
  ];
  return new Map(
    [...services, ...servers].map(([name, pids]) => [
      name,
      sumOf(pids.map((pid) => readProcess(pid, name === POSTGRES ? isSocket : () => true))),
    ]),
  );
}

function sumOf(processes: Held[]): Held {
  return {
    memoryMib: processes.reduce((sum, { memoryMib }) => sum + memoryMib, 0),
    descriptors: processes.reduce((sum, { descriptors }) => sum + descriptors, 0),
  };
}

/** Reads what a process holds. `counts` chooses the descriptors by what they are links to. */
function readProcess(pid: number, counts: (target: string) => boolean): Held {
  const memoryMib = unlessGone(0, () => {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return mib(rollup, 'Pss') - mib(rollup, 'Pss_Shmem');
  });
  const fds = unlessGone([], () => readdirSync(`/proc/${pid}/fd`));
  const isCounted = (fd: string) => unlessGone(false, () => counts(readlinkSync(`/proc/${pid}/fd/${fd}`)));
  return { memoryMib, descriptors: fds.filter(isCounted).length };
}

// A process of PostgreSQL may end, and a descriptor may be closed, after the list of them was read.
function unlessGone<T>(otherwise: T, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return otherwise;
    throw error;
  }
}

function isSocket(target: string): boolean {
  return target.startsWith('socket:');
}

function mib(rollup: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0) / 1024;
}

export function lesserOf(a: Held, b: Held): Held {
  return { memoryMib: Math.min(a.memoryMib, b.memoryMib), descriptors: Math.min(a.descriptors, b.descriptors) };
}

/** Compares the last minute with the end of the warm-up. Returns a sentence for each part that holds too much more. */
export function grownAfterWarmUp(byMinute: Map<string, Held>[]): string[] {
  const before = byMinute[WARM_UP_MINUTES - 1];
  const after = byMinute.at(-1);
  if (!before || !after) return [];
  return [...before].flatMap(([name, held]) => {
    const now = after.get(name)!;
    const memoryMax = held.memoryMib + Math.max(MAY_GROW.memoryMib, held.memoryMib * MAY_GROW.memoryShare);
    const isMore = now.memoryMib > memoryMax || now.descriptors > held.descriptors + MAY_GROW.descriptors;
    return isMore ? [`${name} held ${renderHeld(held)} and now holds ${renderHeld(now)}`] : [];
  });
}

/** MiB and descriptors. */
export function renderHeld({ memoryMib, descriptors }: Held): string {
  return `${memoryMib.toFixed(0)} MiB/${descriptors}`;
}
