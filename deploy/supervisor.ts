import { existsSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { CHECK_SETTINGS, inWords, readArguments } from '@cardea/process/arguments';
import { createLogOutput, writerTo } from '@cardea/process/log-output';
import { closeToOthers } from '@cardea/process/private-mode';

import { CannotStart, exitCannotStart, whyNot } from './cannot-start.ts';
import { renewCertificates, renewWhileRunning } from './certificate-renewal.ts';
import { SupervisedChild } from './child.ts';
import type { ChildSpec, ReadyMessage, Say } from './child.ts';
import { planMini } from './mini.ts';
import type { MiniPlan } from './mini.ts';
import { checkBeforeStart } from './preflight.ts';
import { linePrefix } from './prefixed-lines.ts';
import type { LabelColour } from './prefixed-lines.ts';
import { checkSettings } from './settings-check.ts';
import { welcome } from './welcome.ts';

const usage = `npx -y pnpm@12 start [--${CHECK_SETTINGS}]

  starts Cardea, profile mini, with the settings in the environment (docs/configuration.md); Ctrl-C stops it
  --${CHECK_SETTINGS}   only checks the settings, and makes nothing`;

const root = fileURLToPath(new URL('..', import.meta.url));
const HOUR_MS = 3_600_000;
const slowStartMs = 15_000;
// One Ctrl-C arrives from the terminal, and again from each package runner that passes signals on.
const sameKeyPressMs = 500;

/**
 * Runs profile mini until Ctrl-C, SIGTERM or the end of the terminal, then ends this process. The exit code is 0 after
 * a signal, 78 (EX_CONFIG) if Cardea cannot start, otherwise the code of the service that could not start.
 */
export async function startMini(): Promise<void> {
  process.umask(0o077);
  const { stop, kill } = stopSignals();
  try {
    const options = { [CHECK_SETTINGS]: 'flag' } as const;
    const { said, problems } = readArguments(process.argv.slice(2), { usage, options });
    if (problems.length > 0) throw new CannotStart(inWords(problems, usage));
    const plan = planMini(process.env, root);
    if (CHECK_SETTINGS in said) {
      await checkSettings(plan.stages.flat(), plan.problems);
      process.stdout.write('the settings are right\n');
      process.exit(0);
    }
    process.exit(await runSupervisor({ ...plan, out: logOutput(), stop, kill }));
  } catch (error) {
    process.stderr.write(`${whyNot(error, 'Cardea cannot start')}\n`);
    process.exit(exitCannotStart);
  }
}

// A reader that goes away, such as a log shipper that crashed, must not take Cardea with it. Nor must a full disk.
function logOutput(): SupervisorOptions['out'] {
  const { stdout, stderr } = process;
  stdout.on('error', (error) => stderr.write(`The log is not written any more (${error.message}). Cardea runs on.\n`));
  stderr.on('error', () => {});
  const loss = (count: number, code: string) => `${prefixOf('cardea', stdout)}${count} log lines were lost (${code})`;
  return Object.assign(createLogOutput(writerTo(stdout), loss), { isTTY: stdout.isTTY });
}

export interface SupervisorOptions extends MiniPlan {
  out: NodeJS.WritableStream & { isTTY?: boolean };
  /** Stops every process in order. */
  stop: AbortSignal;
  /** Kills every process at once. */
  kill: AbortSignal;
  /** See Supervision. The default is 250. */
  firstRestartDelayMs?: number;
  /** See Supervision. The default is 10,000. */
  lastRestartDelayMs?: number;
}

/**
 * Checks the settings and the machine, makes the certificates that are due, runs the processes of `stages` and keeps
 * them running. Resolves with the exit code of this process once all of them have ended.
 *
 * @throws CannotStart before any process is started, with one sentence that says what to do.
 */
export async function runSupervisor(options: SupervisorOptions): Promise<number> {
  // Services check their settings at every start. At the first start that would be too late: the data folder would be
  // left half made. And whoever has one wrong setting is told of all of them.
  const isFirst = !existsSync(options.tlsDir);
  if (isFirst || options.problems.length > 0) await checkSettings(options.stages.flat(), options.problems);
  const releaseFolder = await checkBeforeStart({ ...options, now: new Date() });
  let renewal: NodeJS.Timeout | undefined;
  try {
    const say = (line: string) => void options.out.write(`${prefixOf('cardea', options.out)}${line}\n`);
    closeToOthers([options.dataDir, options.tlsDir], say);
    await renewCertificates(options.tlsDir, say);
    renewal = setInterval(() => void renewWhileRunning(options.tlsDir, say), HOUR_MS);
    const exitCode = await runStages(options, say);
    // One service has named its own wrong settings. Those of the others follow, and not at the next try.
    if (exitCode === exitCannotStart) await checkSettings(options.stages.flat());
    return exitCode;
  } finally {
    clearInterval(renewal);
    releaseFolder();
  }
}

async function runStages(options: SupervisorOptions, say: Say): Promise<number> {
  if (options.stop.aborted) return 0;
  const end = Promise.withResolvers<number>();
  const stages = options.stages.map((specs) => specs.map((spec) => superviseIn(options, spec, say, end.resolve)));
  options.stop.addEventListener('abort', () => {
    say('stopping: waiting for requests under way');
    end.resolve(0);
  });
  options.kill.addEventListener('abort', () => stages.flat().forEach((child) => child.kill()));

  announceWhenReady(options, stages, say).catch(end.reject);
  try {
    return await end.promise;
  } finally {
    await stopInOrder(stages);
    if (options.stop.aborted) say('all services have stopped');
  }
}

async function announceWhenReady(options: SupervisorOptions, stages: SupervisedChild[][], say: Say): Promise<void> {
  const passwordFile = join(options.dataDir, 'initial-admin-password');
  const hadPassword = existsSync(passwordFile);
  const ready = await startInOrder(stages, say);
  if (options.stop.aborted) return;

  const url = ready.findLast((message) => message.url !== undefined)?.url ?? options.url;
  const sealedAt = ready.find((message) => message.sealed)?.url;
  const isFirstStart = !hadPassword && existsSync(passwordFile);
  options.out.write(welcome({ ...options, url, sealedAt, passwordFile: isFirstStart ? passwordFile : undefined }));
  // Otherwise the cache is written when the process ends, and a killed process never writes it.
  flushCompileCache();
}

function superviseIn(
  options: SupervisorOptions,
  spec: ChildSpec,
  say: Say,
  giveUp: (exitCode: number) => void,
): SupervisedChild {
  const { out, firstRestartDelayMs = 250, lastRestartDelayMs = 10_000 } = options;
  const restartDelays = { firstRestartDelayMs, lastRestartDelayMs };
  return new SupervisedChild(spec, { out, prefix: prefixOf(spec.label, out), say, giveUp, ...restartDelays });
}

async function startInOrder(stages: SupervisedChild[][], say: Say): Promise<ReadyMessage[]> {
  const ready: ReadyMessage[] = [];
  for (const stage of stages) {
    const names = stage.map((child) => child.spec.name).join(' and ');
    const slow = setTimeout(() => say(`still waiting for ${names}`), slowStartMs);
    slow.unref();
    ready.push(...(await Promise.all(stage.map((child) => child.start()))));
    clearTimeout(slow);
  }
  return ready;
}

// The last stage takes requests, and needs the other stages to finish those under way.
async function stopInOrder(stages: SupervisedChild[][]): Promise<void> {
  for (const stage of stages.toReversed()) await Promise.all(stage.map((child) => child.stop()));
}

function stopSignals(): { stop: AbortSignal; kill: AbortSignal } {
  const stop = new AbortController();
  const kill = new AbortController();
  let askedAt = -Infinity;
  const ask = () => {
    if (performance.now() - askedAt < sameKeyPressMs) return;
    askedAt = performance.now();
    (stop.signal.aborted ? kill : stop).abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, ask);
  return { stop: stop.signal, kill: kill.signal };
}

const labelColours: Record<string, LabelColour> = { api: 'green', audit: 'magenta', cardea: 'cyan', kek: 'blue' };

function prefixOf(label: string, out: { isTTY?: boolean }): string {
  const isColoured = out.isTTY === true && !process.env['NO_COLOR'];
  return linePrefix(label, isColoured ? labelColours[label] : undefined);
}
