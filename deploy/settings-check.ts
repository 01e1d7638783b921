import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { CannotStart, exitCannotStart } from './cannot-start.ts';
import type { ChildSpec } from './child.ts';

/**
 * Has each service judge its own settings, in a process that does nothing else: whatever is wrong with them is said
 * before anything is made.
 *
 * @throws CannotStart with the sentences of the services.
 */
export async function checkSettings(specs: ChildSpec[]): Promise<void> {
  const said = await Promise.all(specs.map(refusalOf));
  // Services that share a setting say the same of it.
  const sentences = [...new Set(said)].filter((sentence) => sentence !== undefined);
  if (sentences.length > 0) throw new CannotStart(sentences.join('\n'));
}

async function refusalOf({ script, env }: ChildSpec): Promise<string | undefined> {
  const args = ['--disable-warning=ExperimentalWarning', script, '--check-settings'];
  try {
    await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } });
    return undefined;
  } catch (error) {
    if ((error as { code?: unknown }).code !== exitCannotStart) throw error;
    return whatItSaid(error);
  }
}

/** What a process that `execFile` has run said before it failed. */
export function whatItSaid(error: unknown): string {
  const said = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr).trim() : '';
  return said || String(error);
}
