import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { CannotStart, exitCannotStart } from './cannot-start.ts';
import type { ChildSpec } from './child.ts';

/**
 * Lets each service check its own settings, in a process that does nothing else, so that wrong settings are reported
 * before any file is made.
 *
 * @throws CannotStart with the messages of the services.
 */
export async function checkSettings(specs: ChildSpec[]): Promise<void> {
  const refusals = await Promise.all(specs.map(refusalOf));
  // Services that share a setting print the same message about it.
  const messages = [...new Set(refusals)].filter((message) => message !== undefined);
  if (messages.length > 0) throw new CannotStart(messages.join('\n'));
}

async function refusalOf({ script, env }: ChildSpec): Promise<string | undefined> {
  const args = ['--disable-warning=ExperimentalWarning', script, '--check-settings'];
  try {
    await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } });
    return undefined;
  } catch (error) {
    if ((error as { code?: unknown }).code !== exitCannotStart) throw error;
    return errorOutput(error);
  }
}

/** Returns what a failed process of `execFile` wrote to stderr, or the error if it wrote nothing. */
export function errorOutput(error: unknown): string {
  const output = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr).trim() : '';
  return output || String(error);
}
