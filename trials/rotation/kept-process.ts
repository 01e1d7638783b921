import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChildSpec } from '@cardea/deploy/child';

const RESTART_MS = 50;

/** A process that is started again whenever it ends, whatever its exit code, as an operator of profile full does. */
export interface KeptProcess {
  readonly name: string;
  readonly isReady: boolean;
  /** Kills it with SIGKILL. Resolves when it has ended. */
  kill(): Promise<void>;
  /** Ends it with SIGTERM and starts it again. Resolves when it has ended. @throws Error if its exit code is not 0 */
  restart(): Promise<void>;
  /** The id of the process that runs now. */
  pid(): number;
  /** Stops it from running for so long. */
  pause(ms: number): Promise<void>;
  /** Ends it with SIGTERM and does not start it again. */
  stop(): Promise<void>;
}

/**
 * Keeps a service running. Its output goes to the file descriptor `log`. `onEnd` hears of each end with an exit code.
 * The service notices the end of this process and ends too.
 */
export function keepRunning(
  { name, script, env }: ChildSpec,
  { log, onEnd }: { log: number; onEnd(name: string, code: number): void },
): KeptProcess {
  let child: ChildProcess;
  let isReady = false;
  let isStopping = false;
  let isRestarting = false;

  function run(): void {
    const started = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
      env: { ...process.env, ...env },
      stdio: ['ignore', log, log, 'ipc'],
      detached: true,
    });
    child = started;
    started.once('message', () => (isReady = true));
    started.once('exit', (code) => {
      isReady = false;
      if (isStopping) return;
      if (code !== null && !isRestarting) onEnd(name, code);
      isRestarting = false;
      setTimeout(run, RESTART_MS);
    });
  }

  async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    if (hasEnded(child)) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  run();
  return {
    name,
    get isReady() {
      return isReady;
    },
    async kill() {
      while (hasEnded(child)) await sleep(RESTART_MS / 5);
      await end('SIGKILL');
    },
    async restart() {
      const old = child;
      isRestarting = true;
      await end('SIGTERM');
      if (old.exitCode !== 0) throw new Error(`${name} ended with ${old.exitCode ?? old.signalCode} after SIGTERM`);
    },
    pid: () => child.pid!,
    async pause(ms) {
      const paused = child;
      paused.kill('SIGSTOP');
      await sleep(ms);
      paused.kill('SIGCONT');
    },
    async stop() {
      isStopping = true;
      await end('SIGTERM');
    },
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
