import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { AppError } from '@cardea/contracts/errors';
import { parse as parseByDotenv } from 'dotenv';
import * as fc from 'fast-check';
import { formatDocument, parseDocument } from './document.ts';

const folder = mkdtempSync(join(tmpdir(), 'cardea-dotenv-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('an environment file', () => {
  test.each([
    ['A=b', { A: 'b' }],
    ['  export A = b c  ', { A: 'b c' }],
    ['A=', { A: '' }],
    ['A=\'\'\nB=""', { A: '', B: '' }],
    ['\n# comment\n  # another\nA=b # why\n\n', { A: 'b' }],
    ['A= # nothing', { A: '' }],
    ['A=b#c', { A: 'b#c' }],
    ['A=\'#b\' # c\nB="#c"\t# d', { A: '#b', B: '#c' }],
    ["A=' b '", { A: ' b ' }],
    ['A=$HOME ${HOME} $(id)\nB="$HOME"', { A: '$HOME ${HOME} $(id)', B: '$HOME' }],
    ['A=\'\\n\\\'\nB="\\n\\r\\t\\"\\\\\\$\\`\\q"', { A: '\\n\\', B: '\n\r\t"\\$`\\q' }],
    ['A=\'1\n2\'\nB="3\n4"\nC=5', { A: '1\n2', B: '3\n4', C: '5' }],
    ["\ufeffA='1\r\n2'\r\nB=3\r\n", { A: '1\n2', B: '3' }],
    ['A=it\'s\nB=x"y"', { A: "it's", B: 'x"y"' }],
    ['db/password=x\nexport=y', { 'db/password': 'x', export: 'y' }],
    ['A=base64:"aGk="', { A: 'base64:"aGk="' }],
    ['# cardea: base64-text\nA=aGk=', { A: 'hi' }],
    ['#cardea: base64\nA=aGk=', { A: 'aGk=' }],
  ])('%j is read as documented', (content, expected) => {
    const items = parseDocument('dotenv', content).items.map(({ name, value }) => [name, String(value.bytes)]);
    expect(Object.fromEntries(items)).toEqual(expected);
  });

  test('a mark names the encoding and the content type', () => {
    const content = '# cardea: base64 contentType=image/png; q=1\nA=AP8=\n# cardea: contentType=application/json\nB={}';
    expect(parseDocument('dotenv', content).items).toMatchObject([
      { name: 'A', line: 2, value: { encoding: 'base64', contentType: 'image/png; q=1' } },
      { name: 'B', line: 4, value: { encoding: 'utf8', contentType: 'application/json' } },
    ]);
  });

  test.each([
    ['A=b\nfoo', 2, 'is not NAME=value'],
    ['=b', 1, 'is not NAME=value'],
    ['A B=c', 1, 'is not NAME=value'],
    ["A='1\n2'\nB='3", 3, 'the quote that begins here does not end'],
    ['A="b\\"', 1, 'the quote that begins here does not end'],
    ["A='b'c", 1, 'there is text after the closing quote'],
    ["A='b'#c", 1, 'there is text after the closing quote'],
    ['A=`b`', 1, 'a value must not begin with a backtick: put it in quotes'],
    ["A='1\n2'\nB=3\nA=4", 4, 'repeats a name of the document'],
    ['A=1\nB=2\r3', 2, 'a carriage return does not end a line: in a value, write \\r in double quotes'],
    ['# cardea: base64\n\nA=aGk=', 2, 'the mark in the line before needs a value in this line'],
    ['A=b\n# cardea: base64', 2, 'the mark in the line before needs a value, but the document ends'],
    ['# cardea: gzip\nA=b', 1, 'is an unknown mark'],
    ['# cardea: base64\nA=b', 2, 'the value is not standard base64'],
    ['# cardea: base64-text\nA=/w==', 2, 'the value is not well-formed text'],
    ['A=\ud800', 1, 'the value is not well-formed text'],
  ])('%j is refused, with the line', (content, line, sentence) => {
    expect(() => parseDocument('dotenv', content)).toThrow(
      new AppError('invalid_request', `the document: line ${line}: ${sentence}`),
    );
  });
});

const name = fc.stringMatching(/^[A-Za-z0-9_]{0,8}$/).map((text) => `T_${text}`);
const sign = fc.constantFrom(
  "'",
  '"',
  '`',
  '$',
  '\\',
  '#',
  '=',
  ' ',
  '\n',
  '\t',
  '\r',
  'n',
  '!',
  '~',
  '*',
  'é',
  '\u2028',
);
const text = fc.oneof(
  fc.string({ unit: sign }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('$(id)', '`id`', '${HOME}', 'it\'s `id` $(id) "$HOME" \\', "!!' !$", '~/x', '-n', 'a\n#b\nC=d'),
);
// Characters that an environment file cannot hold as text. Values with them are written in base64, with a mark.
const unfit = /[^\P{Cc}\t\n\r]/u;
const variables = (isCarried: (value: string) => boolean) =>
  fc.dictionary(
    name,
    text.filter((value) => !unfit.test(value) && isCarried(value)),
    { maxKeys: 8, noNullPrototype: true },
  );

function write(values: Record<string, string>): string {
  const items = Object.entries(values).map(([name, value]) => ({
    name,
    value: { bytes: Buffer.from(value), encoding: 'utf8' as const },
  }));
  return written('dotenv', items);
}

// `dotenv` reads no escapes except \n and \r, and reads \' as a quote inside quotes.
const dotenvCarries = (value: string) => (/['\r]/.test(value) ? !/["\\`$]/.test(value) : !value.endsWith('\\'));

test('`dotenv` reads a written file, except for backslashes at the end and for ["`$\\] beside a single quote or a carriage return', () => {
  fc.assert(
    fc.property(variables(dotenvCarries), (values) => {
      expect(parseByDotenv(write(values))).toEqual(values);
    }),
    { numRuns: 500 },
  );
});

test('a shell reads a written file, except for carriage returns, and runs nothing of it', () => {
  const carried = variables((value) => !value.includes('\r'));
  fc.assert(
    fc.property(fc.array(carried, { minLength: 20, maxLength: 20 }), (files) => {
      const paths = files.map((values, i) => {
        const path = join(folder, `${i}.env`);
        writeFileSync(path, write(values));
        return path;
      });
      expect(sourced(paths)).toEqual(files);
    }),
    { numRuns: 12 },
  );
});

test('a value that zsh would take for the path of a program is in quotes', () => {
  expect(write({ A: '=ls', B: 'a:=ls', C: '==', D: 'plain:1' })).toBe("A='=ls'\nB='a:=ls'\nC='=='\nD=plain:1\n");
});

/** The variables that each file sets. Each file is sourced in its own shell. */
function sourced(paths: string[]): Record<string, string>[] {
  const script = 'for file; do (set -a; . "$file"; env -0; printf "\\0"); done';
  const output = execFileSync('bash', ['--norc', '--noprofile', '-c', script, 'bash', ...paths], {
    env: { PATH: process.env['PATH'] },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return output
    .split('\0\0')
    .slice(0, -1)
    .map((variables) => {
      const pairs = variables
        .split('\0')
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
      return Object.fromEntries(pairs.filter(([name]) => name!.startsWith('T_'))) as Record<string, string>;
    });
}

function written(...document: Parameters<typeof formatDocument>): string {
  return [...formatDocument(...document)].join('');
}
