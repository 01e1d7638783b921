import { readFileSync } from 'node:fs';
import { Failure, say, usage } from './failure.ts';

/** The most bytes that a command reads: more than any value, document or key. */
const INPUT_BYTES_MAX = 16 * 1024 * 1024;

/** Whether somebody sits at the terminal and can answer a question. */
export function isInteractive(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY;
}

/** Asks for something that nobody else may see. */
export async function askSecret(message: string): Promise<string> {
  const { password } = await import('@clack/prompts');
  return answered(await password({ message, output: process.stderr }));
}

export async function askText(message: string): Promise<string> {
  const { text } = await import('@clack/prompts');
  return answered(await text({ message, output: process.stderr }));
}

/** Ctrl-C and Escape are no answer. Nor is there an undefined one: an empty line is an empty text. */
function answered(answer: string | symbol | undefined): string {
  if (typeof answer === 'symbol') throw new Failure('cancelled');
  return answer ?? '';
}

/** Lets somebody type the name of what is about to be lost. `yes` answers for programs. */
export async function confirmLoss(name: string, sentence: string, { yes }: { yes?: boolean }): Promise<void> {
  if (yes === true) return;
  if (!isInteractive()) throw usage(`${sentence} Confirm it with --yes`);
  const typed = await askText(`${sentence} Type ${name} to go on`);
  if (typed !== name) throw new Failure('cancelled: that is another name');
}

/** The bytes of a file, or of stdin for `-`. */
export async function readInput(file: string): Promise<Uint8Array> {
  if (file !== '-') return readFileOf(file);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > INPUT_BYTES_MAX) throw usage(`the input is larger than ${INPUT_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The lines of stdin, for answers that a program gives. */
export async function readLines(): Promise<string[]> {
  return Buffer.from(await readInput('-'))
    .toString('utf8')
    .split(/\r?\n/);
}

/** Bytes as text if they are UTF-8, else as they are. A byte order mark stays. */
export function asText(bytes: Uint8Array): string | Uint8Array {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    // Not UTF-8: the value is bytes.
    return bytes;
  }
}

/** A value that is never in the arguments, where every user of the machine could read it: from a file, a pipe or a prompt. */
export async function readValue({ file, trim }: { file?: string; trim?: boolean }): Promise<string | Uint8Array> {
  if (file === undefined && isInteractive()) return await askSecret('Value');
  const value = asText(await readInput(file ?? '-'));
  if (typeof value !== 'string' || !value.endsWith('\n')) return value;
  if (trim === true) return value.replace(/\r?\n$/, '');
  // That is what `echo` leaves, and seldom what was meant.
  if (value.indexOf('\n') === value.length - 1) say('the value ends with a newline. Leave it out with --trim');
  return value;
}

function readFileOf(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Failure(`${file} cannot be read: ${(error as Error).message}`, undefined, { cause: error });
  }
}
