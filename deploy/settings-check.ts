import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { CannotStart, exitCannotStart } from './cannot-start.ts';
import type { ChildSpec } from './child.ts';

/**
 * Lets each service check its own settings, in a process that does nothing else, so that wrong settings are reported
 * before any file is made.
 *
 * @param found what is wrong with other settings
 * @throws CannotStart that names all of them, and what the services have found
 */
export async function checkSettings(specs: ChildSpec[], found: string[] = []): Promise<void> {
  const refusals = await Promise.all(specs.map(refusalsOf));
  // Services that share a setting print the same line about it.
  const problems = [...new Set([...found, ...refusals.flat()])];
  if (problems.length > 0) throw new CannotStart(problems.join('\n'));
}

async function refusalsOf({ script, env }: ChildSpec): Promise<string[]> {
  const args = ['--disable-warning=ExperimentalWarning', script, '--check-settings'];
  try {
    await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } });
    return [];
  } catch (error) {
    if ((error as { code?: unknown }).code !== exitCannotStart) throw error;
    return errorOutput(error).split('\n');
  }
}

/** Returns what a failed process of `execFile` wrote to stderr, or the error if it wrote nothing. */
export function errorOutput(error: unknown): string {
  const output = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr).trim() : '';
  return output || String(error);
}
