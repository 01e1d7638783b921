import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Failure } from '../../failure.ts';

const FORWARDED: NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];
// A terminal sends these to the program as well. Twice would be once too often: many programs then stop at once.
const BY_TERMINAL: NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];

/**
 * Runs a program in place of this one: same files, its own environment. It gets the signals of this process. Then this process
 * ends as the program did: with its exit code, or by the signal that ended it.
 */
export async function runChild(program: string, args: string[], environment: NodeJS.ProcessEnv): Promise<void> {
  let child: ChildProcess | undefined;
  const forward = (signal: NodeJS.Signals) => {
    if (!(process.stdin.isTTY && BY_TERMINAL.includes(signal))) child?.kill(signal);
  };
  // Before the program begins: a signal in between would end this process alone. None is handled before `spawn` returns.
  for (const signal of FORWARDED) process.on(signal, forward);
  try {
    // Some errors are thrown at once, such as E2BIG.
    child = spawn(program, args, { env: environment, stdio: 'inherit' });
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    if (signal === null) process.exitCode = code ?? 1;
    else endBy(signal, forward);
  } catch (error) {
    throw notStarted(program, error as NodeJS.ErrnoException);
  } finally {
    for (const name of FORWARDED) process.off(name, forward);
  }
}

function endBy(signal: NodeJS.Signals, forward: (signal: NodeJS.Signals) => void): void {
  for (const name of FORWARDED) process.off(name, forward);
  process.kill(process.pid, signal);
}

/** As shells do: 127 for no such program, 126 for one that cannot be run. */
function notStarted(program: string, error: NodeJS.ErrnoException): Failure {
  if (error.code === 'ENOENT') return new Failure(`there is no program ${program}`, 127);
  if (error.code === 'E2BIG') return new Failure('the secrets are more than an environment can hold', 126);
  return new Failure(`${program} cannot be run: ${error.message}`, 126);
}
