import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, say, usage } from '../../../failure.ts';
import { asText } from '../../../input.ts';
import { environmentWithoutCredentials } from '../../../settings.ts';

/** The type of a file system whose files are only in memory, as statfs(2) has it. */
const TMPFS = 0x01021994;
const ENDING: NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT'];
/** A terminal sends these to the editor as well, which knows what to do. */
const BY_TERMINAL: NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];

/**
 * Lets somebody edit a text in their editor, in a file of mode 0600 in memory, and hands over what they saved. The file is
 * removed afterwards. Only if `take` fails it stays, so that what was typed is not lost, and the message says where.
 * @throws Failure if the machine has no folder in memory, the editor ends with an error, or the text is not UTF-8
 */
export async function editText(text: string, take: (edited: string) => Promise<void>): Promise<void> {
  let editor: ChildProcess | undefined;
  // Nothing ends this process before the file is gone.
  const pass = (signal: NodeJS.Signals) => {
    if (!BY_TERMINAL.includes(signal)) editor?.kill(signal);
  };
  for (const signal of ENDING) process.on(signal, pass);
  try {
    const folder = mkdtempSync(join(folderInMemory(), 'cardea-'));
    await editIn(folder, { text, take, started: (child) => (editor = child) });
  } finally {
    for (const signal of ENDING) process.off(signal, pass);
  }
}

interface Editing {
  text: string;
  take: (edited: string) => Promise<void>;
  started: (editor: ChildProcess) => void;
}

async function editIn(folder: string, { text, take, started }: Editing): Promise<void> {
  const file = join(folder, 'value');
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const edited = await letEdit(file, text, started).catch((error: unknown) => {
    remove();
    throw error;
  });
  try {
    await take(edited);
  } catch (error) {
    if (edited === text) remove();
    else say(`nothing was written. What you typed is in ${file}, in memory: remove it when you need it no more`);
    throw error;
  }
  remove();
}

async function letEdit(file: string, text: string, started: Editing['started']): Promise<string> {
  writeFileSync(file, text, { mode: 0o600 });
  await runEditor(file, started);
  const edited = asText(readFileSync(file));
  if (typeof edited !== 'string') throw usage('the file is not UTF-8 any more, so nothing is written');
  return edited;
}

/** What is written to a disk can be found there for years. */
function folderInMemory(): string {
  for (const folder of [process.env['XDG_RUNTIME_DIR'], '/dev/shm']) {
    if (folder !== undefined && isInMemory(folder)) return folder;
  }
  throw new Failure(
    'this machine has no folder that is only in memory (XDG_RUNTIME_DIR, /dev/shm). Use: cardea get --out, and cardea put --file',
  );
}

function isInMemory(folder: string): boolean {
  try {
    return statfsSync(folder).type === TMPFS;
  } catch {
    // There is no such folder.
    return false;
  }
}

/** As git does: a shell reads the setting, which may have options, and the file is one argument. */
async function runEditor(file: string, started: Editing['started']): Promise<void> {
  const editor = process.env['VISUAL'] || process.env['EDITOR'] || 'vi';
  // In place of the shell, so that a signal reaches the editor and not the shell alone.
  const words = ['-c', `exec ${editor} "$@"`, editor, file];
  const child = spawn('sh', words, { stdio: 'inherit', env: environmentWithoutCredentials() });
  started(child);
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  if (code !== 0) throw new Failure(`${editor} ended with ${signal ?? `exit code ${code}`}, so nothing is written`);
}
