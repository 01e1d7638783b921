import { usage } from './failure.ts';
import { asText } from './input.ts';
import { printable } from './output.ts';

/**
 * Prints a value byte for byte, with a newline at its end on a terminal.
 * @throws Failure for a terminal that would obey the value: somebody else wrote it. `ways` says what to do then
 */
export function printValue(bytes: Uint8Array, what: string, ways: string): void {
  if (!process.stdout.isTTY) return void process.stdout.write(bytes);
  const text = asText(bytes);
  if (typeof text !== 'string' || !isHarmless(text.replaceAll(/[\n\t]/g, ''))) {
    throw usage(`${what} holds ${bytes.length} bytes that a terminal cannot show. ${ways}`);
  }
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

function isHarmless(text: string): boolean {
  return printable(text) === text;
}
