import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

import { exitCannotStart } from './cannot-start.ts';
import { prefixedLines } from './prefixed-lines.ts';

/** One process to run, as the profile describes it. */
export interface ChildSpec {
  name: string;
  /** Stands before its log lines; at most 6 characters. */
  label: string;
  /** Absolute path of the program. */
  script: string;
  /** Set beside what this process has in its own environment. */
  env: Record<string, string>;
  /** The most that new objects of its heap may take before it is looked which of them are still in use, in MiB. */
  semiSpaceMib: number;
}

/** What a child says over IPC, once, when it can serve. */
export interface ReadyMessage {
  type: 'ready';
  /** Where it is reached. */
  url?: string;
  /** True if it waits for its passphrase, and until then cannot do what it is for. */
  sealed?: boolean;
}

/** Says one line in the supervisor's own name. */
export type Say = (line: string) => void;

/** What a supervised child needs from its supervisor. */
export interface Supervision {
  /** Where log lines go. */
  out: NodeJS.WritableStream;
  /** What stands before each of this child's lines. */
  prefix: string;
  say: Say;
  /** Called when starting the child again would not help; `exitCode` is for the supervisor to end with. */
  giveUp: (exitCode: number) => void;
  /** How long an ended child waits before it is started again, at first; doubles with each further end. */
  firstRestartDelayMs: number;
  /** Where the doubling ends. */
  lastRestartDelayMs: number;
}

// --disable-sigusr1: that signal otherwise opens the debugger, and with it all memory, to anyone of the same user.
const nodeFlags = ['--disable-warning=ExperimentalWarning', '--disable-sigusr1'];

const healthyAfterMs = 60_000;
const stopPatienceMs = 10_000;
const outputPatienceMs = 1_000;

/** One process that is started, watched, started again when it ends, and stopped. */
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

  /** Starts it; resolves when it is ready for the first time, and never if it gives up or is stopped before. */
  start(): Promise<ReadyMessage> {
    if (!this.#isStopping) this.#run();
    return this.#firstReady.promise;
  }

  /** Asks it to end with SIGTERM and, 10 s later, ends it with SIGKILL. Resolves when it has ended. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#restart);
    const running = this.#process;
    if (!running || hasEnded(running)) return;

    const ended = once(running, 'exit');
    running.kill('SIGTERM');
    const patience = setTimeout(() => {
      this.#supervision.say(`${this.spec.name} has not ended ${seconds(stopPatienceMs)} after SIGTERM; killing it`);
      running.kill('SIGKILL');
    }, stopPatienceMs);
    await ended;
    clearTimeout(patience);
    await outputOf(running);
  }

  /** Ends it with SIGKILL. */
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
      // 'error' is also what a failed kill() or send() gives; only a child that has no id has failed to start.
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
    // What it said last comes before what is said about it.
    await outputOf(child);
    if (this.#isStopping) return;

    const { say, giveUp } = this.#supervision;
    if (code === exitCannotStart) return giveUp(exitCannotStart);
    if (!this.#wasEverReady) {
      say(`${this.spec.name} ${how} before it was ready; its lines above say why`);
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

/** `0.25 s` for 250, with no more than `digits` after the point. */
export function seconds(ms: number, digits = 2): string {
  return `${Number((ms / 1000).toFixed(digits))} s`;
}

function spawnNode(spec: ChildSpec): ChildProcess {
  return spawn(process.execPath, [...nodeFlags, `--max-semi-space-size=${spec.semiSpaceMib}`, spec.script], {
    env: { ...process.env, ...spec.env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // In a process group of its own a terminal's Ctrl-C does not reach it, so services end in the order they must. When
    // this process is killed, the IPC channel closes and the child ends itself.
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

// The pipes are usually empty by the time a process has ended, but nobody may be reading them any more.
async function outputOf(child: ChildProcess): Promise<void> {
  const isOpen = [child.stdout, child.stderr].some((stream) => stream !== null && !stream.closed);
  if (!isOpen) return;
  const patience = new AbortController();
  await Promise.race([once(child, 'close'), delay(outputPatienceMs, undefined, { signal: patience.signal })]);
  patience.abort();
}
