import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { bundle } from '@cardea/cli/build';
import { afterAll, beforeAll } from '@jest/globals';

/** How a command ended. */
export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface Started {
  pid: number;
  /** Resolves once the program has printed something like it, on whichever of its outputs. */
  says(pattern: RegExp): Promise<void>;
  type(text: string): void;
  ended: Promise<Ended>;
}

interface How {
  /** What comes through the pipe. Without it stdin is empty. */
  stdin?: string | Uint8Array;
  env?: NodeJS.ProcessEnv;
}

/** A machine with the bundled command in its PATH, a folder to work in, and nothing else of its user. */
export interface Terminal {
  /** The folder that commands run in. */
  readonly folder: string;
  /** The environment of every command. A test may change it. */
  readonly env: NodeJS.ProcessEnv;
  /** Runs `cardea` with words, in pipes. */
  cardea(words: string[], how?: How): Promise<Ended>;
  /** Runs a line of a shell. */
  shell(line: string, how?: How): Promise<Ended>;
  /** Starts `cardea` with words, in pipes. */
  start(words: string[], how?: How): Started;
  /** Starts `cardea` in a pseudo-terminal. What it prints is in `stdout`. */
  startInTerminal(words: string[], how?: How): Started;
}

/** Bundles the command once for the tests of a file. */
export function useTerminal(): Terminal {
  const home = mkdtempSync(join(tmpdir(), 'cardea-cli-'));
  const folder = join(home, 'work');
  const bin = join(home, 'bin');
  const file = join(home, 'cardea.mjs');
  const env: NodeJS.ProcessEnv = {
    PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}`,
    HOME: home,
    XDG_STATE_HOME: join(home, 'state'),
    TERM: 'xterm',
    NODE_COMPILE_CACHE: join(home, 'compiled'),
  };

  beforeAll(async () => {
    for (const made of [folder, bin]) mkdirSync(made);
    await bundle(file);
    writeFileSync(join(bin, 'cardea'), `#!/bin/sh\nexec '${process.execPath}' '${file}' "$@"\n`);
    chmodSync(join(bin, 'cardea'), 0o755);
  });
  const children: ChildProcess[] = [];
  afterAll(() => {
    // A test that failed may have left some.
    for (const child of children) child.kill('SIGKILL');
    rmSync(home, { recursive: true, force: true });
  });

  const launch = (program: string, words: string[], { stdin, env: own }: How, keepsOpen = false): Started => {
    const child = spawn(program, words, { cwd: folder, env: { ...env, ...own }, stdio: 'pipe' });
    children.push(child);
    const chunks: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
    const textOf = (name: 'stdout' | 'stderr') => Buffer.concat(chunks[name]).toString();
    for (const name of ['stdout', 'stderr'] as const)
      child[name].on('data', (chunk: Buffer) => chunks[name].push(chunk));
    // A command that reads nothing may be gone before its input comes.
    child.stdin.on('error', () => {});
    if (!keepsOpen) child.stdin.end(stdin);
    const ended = once(child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      stdout: textOf('stdout'),
      stderr: textOf('stderr'),
    }));
    return {
      pid: child.pid!,
      async says(pattern) {
        const said = () => pattern.test(textOf('stdout') + textOf('stderr'));
        let isOver = false;
        void ended.then(() => (isOver = true));
        while (!said()) {
          if (isOver) throw new Error(`it ended without ${String(pattern)}: ${textOf('stdout')}${textOf('stderr')}`);
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      },
      type: (text) => void child.stdin.write(text),
      ended,
    };
  };
  // So that the id of the process is that of the command itself.
  const start = (words: string[], how: How = {}) => launch(process.execPath, [file, ...words], how);
  return {
    folder,
    env,
    start,
    cardea: (words, how) => start(words, how).ended,
    shell: (line, how = {}) => launch('sh', ['-c', line], how).ended,
    startInTerminal(words, how = {}) {
      const quoted = words.map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(' ');
      // A new pseudo-terminal is no column wide.
      const line = `stty cols 120 rows 40; exec cardea ${quoted}`;
      const forLinux = ['-q', '-e', '-c', line, '/dev/null'];
      const forMacOs = ['-q', '-e', '/dev/null', 'sh', '-c', line];
      return launch('script', process.platform === 'linux' ? forLinux : forMacOs, how, true);
    },
  };
}

/** What a pseudo-terminal shows, without its control sequences. */
export function shown({ stdout }: Ended): string {
  // eslint-disable-next-line no-control-regex -- the escape sequences of a terminal
  return stdout.replaceAll(/\u001b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r', '');
}
