import { readFileSync, readdirSync } from 'node:fs';

/**
 * Memory of one process in MiB. `pssMib` counts a proportional share of shared memory, so sums are correct. `rssMib`
 * counts shared memory in full.
 */
export interface ProcessMemory {
  name: string;
  pssMib: number;
  rssMib: number;
}

/** Returns the memory of the process `root` and of its descendants, read from /proc (Linux). */
export function memoryOf(root: number): ProcessMemory[] {
  return familyOf(root).map((pid) => {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return { name: nameOf(pid), pssMib: mib(rollup, 'Pss'), rssMib: mib(rollup, 'Rss') };
  });
}

function familyOf(root: number): number[] {
  const children = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => parentOf(pid) === root);
  return [root, ...children.flatMap(familyOf)];
}

// Undefined if the process has ended since the list was read.
function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

function nameOf(pid: number): string {
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  const script = words.find((word) => /\.(ts|mjs)$/.test(word)) ?? words[0] ?? '';
  return /services\/([a-z-]+)\//.exec(script)?.[1] ?? 'supervisor';
}

function mib(rollup: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0) / 1024;
}
