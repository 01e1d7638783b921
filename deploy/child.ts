import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

import { exitCannotStart } from './cannot-start.ts';
import { prefixedLines } from './prefixed-lines.ts';

/** One process to run, as the profile describes it. */
export interface ChildSpec {
  name: string;
  /** The prefix of its log lines; at most 6 characters. */
  label: string;
  /** Absolute path of the program. */
  script: string;
  /** Added to the environment of this process. */
  env: Record<string, string>;
  /** Node's --max-semi-space-size in MiB: the most that new objects may take before V8 collects the unused ones. */
  semiSpaceMib: number;
}

/** The message that a child sends once over IPC, when it can serve requests. */
export interface ReadyMessage {
  type: 'ready';
  /** The URL at which it serves. */
  url?: string;
  /** True if it waits for its passphrase and cannot do its work until then. */
  sealed?: boolean;
}

/** Prints one line with the supervisor's own prefix. */
export type Say = (line: string) => void;

/** What a supervised child needs from its supervisor. */
export interface Supervision {
  /** The stream for log lines. */
  out: NodeJS.WritableStream;
  /** The prefix of each line of this child. */
  prefix: string;
  say: Say;
  /** Called if another start of the child would not help. The supervisor ends with `exitCode`. */
  giveUp: (exitCode: number) => void;
  /** The wait before an ended child is started again. Doubles with each end, up to `lastRestartDelayMs`. */
  firstRestartDelayMs: number;
  /** The longest wait before a restart. */
  lastRestartDelayMs: number;
}

// --disable-sigusr1: without it, that signal opens the debugger, and so all memory, to any program of the same user.
const nodeFlags = ['--disable-warning=ExperimentalWarning', '--disable-sigusr1'];

const MINUTE_MS = 60_000;
const healthyAfterMs = MINUTE_MS;
const stopPatienceMs = 10_000;
const outputPatienceMs = 1_000;

/** Starts one process, starts it again when it ends, and stops it. */
export class SupervisedChild {
  readonly spec: ChildSpec;
  readonly #supervision: Supervision;
  readonly #firstReady = Promise.withResolvers<ReadyMessage>();
  #process: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #restartDelayMs: number;
  #readyAt: number | undefined;
  #wasEverReady = false;
  #isStopping = false;

  constructor(spec: ChildSpec, supervision: Supervision) {
    this.spec = spec;
    this.#supervision = supervision;
    this.#restartDelayMs = supervision.firstRestartDelayMs;
  }

  /** Starts the child. Resolves when it is ready for the first time; never if it gives up or is stopped first. */
  start(): Promise<ReadyMessage> {
    if (!this.#isStopping) this.#run();
    return this.#firstReady.promise;
  }

  /** Sends SIGTERM and, if the child has not ended after 10 s, SIGKILL. Resolves when it has ended. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#restart);
    const running = this.#process;
    if (!running || hasEnded(running)) return;

    const ended = once(running, 'exit');
    running.kill('SIGTERM');
    const patience = setTimeout(() => {
      this.#supervision.say(`${this.spec.name} is still running ${seconds(stopPatienceMs)} after SIGTERM; killing it`);
      running.kill('SIGKILL');
    }, stopPatienceMs);
    await ended;
    clearTimeout(patience);
    await outputOf(running);
  }

  /** Ends the child with SIGKILL. */
  kill(): void {
    this.#isStopping = true;
    clearTimeout(this.#restart);
    this.#process?.kill('SIGKILL');
  }

  #run(): void {
    this.#readyAt = undefined;
    const child = spawnNode(this.spec);
    this.#process = child;
    for (const output of [child.stdout, child.stderr]) {
      output
        ?.setEncoding('utf8')
        .pipe(prefixedLines(this.#supervision.prefix))
        .pipe(this.#supervision.out, { end: false });
    }
    child.on('message', (message) => {
      if (isReady(message)) this.#onReady(message);
    });
    child.once('exit', (code, signal) => void this.#onEnd(child, code, howItEnded(code, signal)));
    child.on('error', (error) => {
      // A failed kill() or send() emits 'error' too. Only a child without a process id has failed to start.
      if (child.pid === undefined) void this.#onEnd(child, null, `could not be started (${error.message})`);
    });
  }

  #onReady(message: ReadyMessage): void {
    if (this.#wasEverReady) this.#supervision.say(`${this.spec.name} is ready again${sealedHint(message)}`);
    this.#wasEverReady = true;
    this.#readyAt = performance.now();
    this.#firstReady.resolve(message);
  }

  async #onEnd(child: ChildProcess, code: number | null, how: string): Promise<void> {
    if (this.#isStopping) return;
    // The child's last lines are printed before the supervisor's line about its end.
    await outputOf(child);
    if (this.#isStopping) return;

    const { say, giveUp } = this.#supervision;
    if (code === exitCannotStart) return giveUp(exitCannotStart);
    if (!this.#wasEverReady) {
      say(`${this.spec.name} ${how} before it was ready; read its lines above`);
      return giveUp(code || 1);
    }
    const delayMs = this.#nextRestartDelay();
    say(`${this.spec.name} ${how}; starting it again in ${seconds(delayMs)}`);
    this.#restart = setTimeout(() => this.#run(), delayMs);
  }

  #nextRestartDelay(): number {
    const wasHealthy = this.#readyAt !== undefined && performance.now() - this.#readyAt >= healthyAfterMs;
    if (wasHealthy) this.#restartDelayMs = this.#supervision.firstRestartDelayMs;
    const delayMs = this.#restartDelayMs;
    this.#restartDelayMs = Math.min(delayMs * 2, this.#supervision.lastRestartDelayMs);
    return delayMs;
  }
}

/** Formats milliseconds as seconds: `0.25 s` for 250, with at most `digits` digits after the point. */
export function seconds(ms: number, digits = 2): string {
  return `${Number((ms / 1000).toFixed(digits))} s`;
}

function spawnNode(spec: ChildSpec): ChildProcess {
  return spawn(process.execPath, [...nodeFlags, `--max-semi-space-size=${spec.semiSpaceMib}`, spec.script], {
    env: { ...process.env, ...spec.env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // The child gets its own process group, so a terminal's Ctrl-C does not reach it and services end in order. If this
    // process is killed, the IPC channel closes and the child ends itself.
    detached: true,
  });
}

function sealedHint({ sealed }: ReadyMessage): string {
  return sealed === true ? ', and sealed: unseal it (docs/unseal.md)' : '';
}

function isReady(message: unknown): message is ReadyMessage {
  return typeof message === 'object' && message !== null && 'type' in message && message.type === 'ready';
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

function howItEnded(code: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `ended with code ${code}` : `ended with signal ${signal}`;
}

// Waits until the pipes of an ended process are read. The wait has a limit, because maybe nobody reads them any more.
async function outputOf(child: ChildProcess): Promise<void> {
  const isOpen = [child.stdout, child.stderr].some((stream) => stream !== null && !stream.closed);
  if (!isOpen) return;
  const patience = new AbortController();
  await Promise.race([once(child, 'close'), delay(outputPatienceMs, undefined, { signal: patience.signal })]);
  patience.abort();
}
