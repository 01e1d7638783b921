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
      const parts = /^([A-Za-z_]\w*)=(.*)$/.exec(line);
      if (!parts) throw new CannotStart(`${join(folder, '.env')} has a line that is no NAME=value: ${line}`);
      return [parts[1]!, unquote(parts[2]!)];
    }),
  );
}

/** Writes the settings if they differ from those in the file. Comments of the operator stay. */
export async function writeEnv(folder: string, env: StackEnv): Promise<void> {
  const path = join(folder, '.env');
  const found = await readIfThere(path);
  const before = found ?? '# The settings of this stack: docs/configuration.md\n';
  const rest = new Map(Object.entries(env));
  const lines = before
    .trimEnd()
    .split('\n')
    .map((line) => {
      const name = line.split('=')[0]!;
      const value = rest.get(name);
      rest.delete(name);
      // What an operator wrote in another way stays, if it means the same.
      return value === undefined || unquote(line.slice(name.length + 1)) === value ? line : `${name}=${quote(value)}`;
    });
  const added = [...rest].map(([name, value]) => `${name}=${quote(value)}`);
  const text = `${[...lines, ...added].join('\n')}\n`;
  if (text !== found) await replaceFile(path, text, 0o600);
}

/**
 * Writes a value as Compose reads it back. Without quotes Compose would replace `$name`, and take ` #` for the beginning of a
 * comment. Between single quotes no value could end with a backslash.
 */
function quote(value: string): string {
  if (/^[\w.,:/@%+=-]*$/.test(value)) return value;
  if (/[\r\n]/.test(value)) throw new CannotStart(`${JSON.stringify(value)} has more than one line: choose another`);
  return `"${value.replaceAll(/["\\$]/g, String.raw`\$&`)}"`;
}

/** Reads a value as Compose does, but for `$name`, which stays. */
function unquote(text: string): string {
  const trimmed = text.trim();
  const single = /^'((?:[^'\\]|\\.)*)'(?:\s+#.*)?$/.exec(trimmed)?.[1];
  if (single !== undefined) return single.replaceAll(String.raw`\'`, "'");
  const double = /^"((?:[^"\\]|\\.)*)"(?:\s+#.*)?$/.exec(trimmed)?.[1];
  if (double !== undefined) return double.replaceAll(/\\(["\\$])/g, '$1');
  return trimmed.replace(/\s+#.*$/, '');
}
