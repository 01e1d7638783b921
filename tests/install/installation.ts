import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, readdir, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { findFreePort, killWithChildren } from '@cardea/testkit/servers';

const command = fileURLToPath(new URL('../../deploy/start.mjs', import.meta.url));
// The output that people and scripts wait for.
const READY = /Cardea is ready in [^\n]*: (http:\S+)\n/;
const portsInUse = [0, 1, 2, 10, 11, 12];
const running = new Set<ChildProcess>();

export interface StartOptions {
  dataDir: string;
  port: number;
  env?: NodeJS.ProcessEnv;
  /** A file descriptor for stdout, which `output` and `ready` then do not see. */
  stdout?: number;
  /** The data folder is on a disk of its own that has room for so many KiB. Linux only. */
  diskKib?: number;
  /** Not the data folder but this folder, which exists, is on the disk. */
  disk?: string;
}

/** The start command as a separate process, as people run it. */
export interface Installation {
  process: ChildProcess;
  port: number;
  /** The output of the command and its services until now, on both streams. */
  output(): string;
  /** Resolves with the URL once the output says that Cardea is ready. @throws Error if the command ends before */
  ready(): Promise<string>;
  /** Resolves with its exit code. */
  ended(): Promise<number | null>;
  /** Asks the command to end. */
  stop(): Promise<number | null>;
}

export function start({ dataDir, port, env = {}, stdout, diskKib, disk = dataDir }: StartOptions): Installation {
  const [program, ...args] = diskKib === undefined ? [process.execPath, command] : onOwnDisk(disk, diskKib);
  const child = spawn(program!, args, {
    env: { PATH: process.env['PATH'], CARDEA_DATA_DIR: dataDir, CARDEA_PORT: String(port), ...env },
    stdio: ['ignore', stdout ?? 'pipe', 'pipe'],
  });
  running.add(child);
  let said = '';
  const seen = Promise.withResolvers<string>();
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const [, url] = READY.exec(said) ?? [];
      if (url !== undefined) seen.resolve(url);
    });
  }
  const closed = once(child, 'close').then(([code]) => {
    running.delete(child);
    seen.reject(new Error(`it ended with ${code} before it was ready:\n${said}`));
    return code as number | null;
  });
  seen.promise.catch(() => {});
  return {
    process: child,
    port,
    output: () => said,
    ready: () => seen.promise,
    ended: () => closed,
    stop() {
      child.kill('SIGTERM');
      return closed;
    },
  };
}

// Only this process and its children see what is mounted. Nobody needs to be root for that.
function onOwnDisk(folder: string, kib: number): string[] {
  const script = 'mount -t tmpfs -o size="$1"k tmpfs "$2" && exec "$3" "$4"';
  return ['unshare', '-Urm', 'sh', '-c', script, 'sh', String(kib), folder, process.execPath, command];
}

/** Fills the disk of a folder, see `diskKib`, until nothing fits on it any more. */
export async function fillDisk({ process: { pid } }: Installation, dataDir: string): Promise<void> {
  const file = await open(`/proc/${pid}/root${dataDir}/filling`, 'w');
  try {
    for (let size = 1_048_576; size >= 1; size >>= 1) await fill(file, Buffer.alloc(size));
  } finally {
    await file.close();
  }
}

async function fill(file: FileHandle, bytes: Buffer): Promise<void> {
  try {
    for (;;) await file.write(bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}

/** Ends what a failed test left running, with all services: afterwards nothing writes into the data folders. */
export async function killAll(): Promise<void> {
  const ended = [...running].map((child) => once(child, 'close'));
  await Promise.all([...running].map(({ pid }) => killWithChildren(pid!)));
  await Promise.all(ended);
}

/** The process id of a service. @throws Error if it does not run */
export async function serviceProcess({ process: supervisor }: Installation, name: string): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,args=']);
  for (const line of stdout.split('\n')) {
    const [, pid, parent, args] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    if (Number(parent) === supervisor.pid && args?.includes(`/${name}/`)) return Number(pid);
  }
  throw new Error(`${name} does not run`);
}

/** A free port, after which the other ports of the command are free too. */
export function freePorts(): Promise<number> {
  return findFreePort(portsInUse);
}

export interface FoundFile {
  path: string;
  /** The mode as in chmod: 0o600. */
  mode: number;
  bytes: Buffer;
}

/** Every file below a folder, by its relative path. */
export async function filesIn(folder: string): Promise<FoundFile[]> {
  const files: FoundFile[] = [];
  for (const path of await readdir(folder, { recursive: true })) {
    const whole = join(folder, path);
    const { mode, isFile } = await statOf(whole);
    if (isFile) files.push({ path, mode, bytes: await readFile(whole) });
  }
  return files;
}

async function statOf(path: string): Promise<{ mode: number; isFile: boolean }> {
  const found = await stat(path);
  return { mode: found.mode & 0o777, isFile: found.isFile() };
}
