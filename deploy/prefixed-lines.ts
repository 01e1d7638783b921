import { Transform } from 'node:stream';

// A child that never ends a line must not fill the memory of this process.
const lineLengthMax = 64 * 1024;

/**
 * Creates a stream that writes `prefix` before each line of text and passes on whole lines only, so that several
 * processes can share one terminal. It breaks lines longer than 64 Ki characters, and ends a last line without a line
 * end. Set the source's encoding to utf8, which keeps characters whole across chunks.
 */
export function prefixedLines(prefix: string): Transform {
  let rest = '';
  return new Transform({
    decodeStrings: false,
    encoding: 'utf8',
    transform(chunk: string, _encoding, done) {
      const lines = `${rest}${chunk}`.split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > lineLengthMax) {
        lines.push(rest);
        rest = '';
      }
      done(null, lines.map((line) => `${prefix}${line}\n`).join(''));
    },
    flush(done) {
      done(null, rest === '' ? '' : `${prefix}${rest}\n`);
    },
  });
}

/** Returns the prefix for the lines of `label`. The column is as wide as the longest label in use, `cardea`. */
export function linePrefix(label: string, colour: LabelColour | undefined): string {
  const column = label.padEnd(6);
  return colour === undefined ? `${column} | ` : `\u001B[${colourCodes[colour]}m${column} |\u001B[0m `;
}

export type LabelColour = keyof typeof colourCodes;

const colourCodes = { blue: 34, cyan: 36, green: 32, magenta: 35 };
