import { join } from 'node:path';

import { readIfThere, replaceFile } from '@cardea/process/durable-file';
import { CannotStart } from '../cannot-start.ts';

/** The settings of an installed stack, which Docker Compose reads from the file `.env` in the stack's folder. */
export type StackEnv = Record<string, string>;

/** Returns the settings of the stack in this folder, or undefined if there is none. @throws CannotStart */
export async function readEnv(folder: string): Promise<StackEnv | undefined> {
  const text = await readIfThere(join(folder, '.env'));
  if (text === undefined) return undefined;
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    lines.map((line) => {
      const parts = /^([A-Z_]+)=(.*)$/.exec(line);
      if (!parts) throw new CannotStart(`${join(folder, '.env')} has a line that is no NAME=value: ${line}`);
      return [parts[1]!, parts[2]!];
    }),
  );
}

/** Replaces the settings. Comments of the operator stay. */
export async function writeEnv(folder: string, env: StackEnv): Promise<void> {
  const path = join(folder, '.env');
  const before = (await readIfThere(path)) ?? '# The settings of this stack: docs/configuration.md\n';
  const rest = new Map(Object.entries(env));
  const lines = before
    .trimEnd()
    .split('\n')
    .map((line) => {
      const name = line.split('=')[0]!;
      const value = rest.get(name);
      rest.delete(name);
      return value === undefined ? line : `${name}=${value}`;
    });
  const added = [...rest].map(([name, value]) => `${name}=${value}`);
  await replaceFile(path, `${[...lines, ...added].join('\n')}\n`, 0o600);
}
