import { describe, expect, test } from '@jest/globals';
import { AppError } from '@cardea/contracts/errors';
import { DOCUMENT_BYTES_MAX, documentFormats } from '@cardea/contracts/secrets/documents';
import { BULK_MAX } from '@cardea/contracts/secrets/bulk';
import * as fc from 'fast-check';
import { formatDocument, parseDocument } from './document.ts';
import type { DocumentFormat } from './document.ts';
import type { DocumentItem } from './document-item.ts';

/** Values that some format reads as something else, unless they are written with care. */
const nastyTexts = [
  ...'null true no 1e3 0x10 - --- ... ~ [] {} << *a &a !a | > %YAML \\ " it\'s # a=b ends\\ \\n'.split(' '),
  '',
  ' ',
  ' both ends ',
  'trailing \t',
  '\n',
  'a\nb',
  'a\r\nb\r',
  '\'"`$\\',
  '`touch x` $(touch x) ${HOME} $HOME',
  'a #b',
  'key: value',
  '# cardea: base64',
  'base64:"aGk="',
  '\u0000\u0001\u001b[31m\u007f\u0085\u009f',
  '\ufeffmark',
  'x\ufffey\uffffz',
  'a\u2028b\u2029c',
  'é 漢字 😀 \u{10ffff}\uffff',
  '-----BEGIN KEY-----\nabc=\n-----END KEY-----\n',
];
const nastyNames = '1 - --- ... 1.5 .inf null yes __proto__ constructor export encoding value a/value A_B-c.d/e'.split(
  ' ',
);

const segment = fc.stringMatching(/^[A-Za-z0-9._-]{1,20}$/).filter((text) => text !== '.' && text !== '..');
const name = fc.oneof(
  fc.constantFrom('', ...nastyNames),
  fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join('/')),
);
const signs = fc.constantFrom("'", '"', '`', '$', '\\', '#', '=', ' ', '\n', '\r', '\t', 'a');
const text = fc
  .oneof(fc.constantFrom(...nastyTexts), fc.string({ unit: 'binary', maxLength: 60 }), fc.string({ unit: signs }))
  .map((it) => ({ bytes: Buffer.from(it), encoding: 'utf8' as const }));
const binary = fc.uint8Array({ maxLength: 60 }).map((it) => ({ bytes: Buffer.from(it), encoding: 'base64' as const }));
const contentType = fc.constantFrom(
  {},
  {},
  { contentType: 'application/json' },
  { contentType: 'text/plain; charset=utf-8' },
);
const value = fc.tuple(fc.oneof(text, binary), contentType).map(([it, type]) => ({ ...it, ...type }));
const secrets = fc.uniqueArray(fc.record({ name, value }), { selector: (item) => item.name, maxLength: 12 });

describe.each(documentFormats)('%s', (format) => {
  test('any secrets are read back byte for byte, in their order', () => {
    fc.assert(
      fc.property(secrets, (items) => {
        expect(parse(format, written(format, items))).toEqual(items);
      }),
      { numRuns: 300 },
    );
  });

  test('a value that looks like something else is read back unchanged', () => {
    const items = nastyTexts.map((text, i) => secret(`n${i}`, text));
    expect(parse(format, written(format, items))).toEqual(items);
  });

  test('a document that an editor on Windows has saved reads the same', () => {
    const items = [
      secret('a/b', 'x'),
      { name: 'c', value: { bytes: Buffer.from([0, 255]), encoding: 'base64' as const } },
    ];
    expect(parse(format, `\ufeff${written(format, items).replaceAll('\n', '\r\n')}`)).toEqual(items);
  });

  test('a written document contains no character that acts on a terminal', () => {
    expect(written(format, [secret('a', nastyTexts.join(''))])).not.toMatch(/[^\P{Cc}\n\t]/u);
  });

  test('garbage is read or refused, and nothing else happens', () => {
    const pieces = [...Array.from('{}[]:,"\'#-?&*!|>%@` \n\t\r\\=.ab1~'), 'a: ', '\n  ', '---\n', '# cardea: '];
    const garbage = fc.oneof(fc.string({ unit: fc.constantFrom(...pieces) }), fc.string({ unit: 'binary' }));
    fc.assert(
      fc.property(garbage, (content) => {
        const error = errorOf(format, content);
        if (!error) return;
        expect(error.code).toBe('invalid_request');
        expect(error.message).toMatch(/^the document: line [1-9]\d*: /);
      }),
      { numRuns: 1_000 },
    );
  });

  test('a truncated document is read or refused, and nothing else happens', () => {
    fc.assert(
      fc.property(secrets, fc.nat(), (items, at) => {
        const whole = written(format, items);
        const error = errorOf(format, whole.slice(0, at % (whole.length + 1)));
        if (error) expect(error.code).toBe('invalid_request');
      }),
      { numRuns: 200 },
    );
  });

  test('a document is written in pieces, so that a long one lets others in', () => {
    const items = ['a', 'b', 'c'].map((name) => secret(name, 'v'));
    expect([...formatDocument(format, items)].length).toBeGreaterThanOrEqual(items.length);
  });

  test(`accepts ${BULK_MAX} secrets and not one more`, () => {
    const many = Array.from({ length: BULK_MAX }, (_, i) => secret(`a/b${i}`, `v${i}`));
    expect(parse(format, written(format, many))).toHaveLength(BULK_MAX);
    expect(errorOf(format, written(format, [...many, secret('c', '')]))?.code).toBe('too_large');
  });

  // The beginning of the document, then the text that is repeated after it.
  test.each([
    ['', '\n'],
    ['', ' '],
    ['', '{'],
    ['', '{"a":'],
    ['', '{"":"",'],
    ['', '"'],
    ['', 'a=\n'],
    ['', 'a: {'],
    ['', 'a:\n'],
    ['', '- '],
    ['', '? '],
    ['', '# c\n'],
    ['a=', ' \t'],
    ['a=x ', '  #'],
    ['a="', '\\"'],
    ["a='", "'\n"],
    ['{"a":"', '\\"'],
    ['{"a":"', '\\'],
    ['a: "', '\n'],
    ['a: "', '\\"'],
    ['a: |\n ', 'a\n '],
    ['a: x', '\n '],
    ['a: ', "''"],
  ])('4 MiB of %j and then %j take only as long as their size needs', (head, pattern) => {
    const content = (head + pattern.repeat(DOCUMENT_BYTES_MAX / pattern.length)).slice(0, DOCUMENT_BYTES_MAX);
    // Computing is counted and not time, so a busy machine does not matter.
    const before = process.threadCpuUsage();
    errorOf(format, content);
    expect(process.threadCpuUsage(before).user).toBeLessThan(5_000_000);
  });
});

// YAML 1.2.2, 5.1: a reader refuses the whole document for one of them.
test.each(['json', 'yaml'] as const)('a written %s document holds U+FFFE and U+FFFF only as escapes', (format) => {
  const value = { bytes: Buffer.from('x\ufffey\uffffz'), encoding: 'utf8' as const };
  expect(written(format, [{ name: 'a', value }])).toContain(String.raw`"x\ufffey\uffffz"`);
});

/** Errors in JSON and in YAML, with their lines. */
test.each([
  ['{"a":"1",\n"a":"2"}', 2, 'repeats a name of the document'],
  ['{"a":"1",\n"":"2"}', 2, 'a name must not be empty'],
  ['{"a":{"b":"1",\n"":"2"}}', 2, 'a name must not be empty'],
  ['{"":{".":"1"}}', 1, 'a name must not be empty'],
  ['{"a":{"b":"1"},\n"a":{"c":"2"}}', 2, 'repeats a name of the document'],
  ['{"a/b":"1",\n"a":{"b":"2"}}', 2, 'repeats a name of the document'],
  ['{"a":"1",\n"a":{".":"2"}}', 2, 'repeats a name of the document'],
  ['{"a":"1",\n\n"b":5432}', 3, 'a number must be in quotes'],
  ['{"a":true}', 1, 'true and false must be in quotes'],
  ['{\n"a":null}', 2, 'has no value: write "" for an empty value'],
  ['{\n"a":["b"]}', 2, 'a list is not allowed: give each value a name'],
  ['{"a":\n{}}', 1, 'has neither a value nor names under it'],
  ['{"a":{".":{"b":"1"}}}', 1, 'the name . is for a secret and cannot have names under it'],
  ['{"a":{"encoding":"hex","value":"00"}}', 1, 'the encoding must be utf8 or base64'],
  ['{"a":{"encoding":"base64","value":"aGk"}}', 1, 'the value is not standard base64'],
  ['{"a":{"encoding":"base64","value":{"b":"c"}}}', 1, 'has an encoding or a value that is not text'],
  [`${'{"a":'.repeat(33)}"x"${'}'.repeat(33)}`, 1, 'is nested deeper than 32 levels'],
  ['"a"', 1, undefined],
  ['{"a":"1"} x', 1, undefined],
  ['{"a":"1"', 1, undefined],
])('%s is refused, with the line', (content, line, sentence) => {
  for (const format of ['json', 'yaml'] as const) {
    const error = errorOf(format, content);
    expect(error?.errors?.[0]?.path).toBe('body.content');
    expect(error?.message).toMatch(`the document: line ${line}: ${sentence ?? ''}`);
  }
});

test('JSON accepts names below names, and the values that a PUT accepts', () => {
  const content = '{ "db": { ".": "x", "main": { "password": "y" } }, "k": { "encoding": "base64", "value": "/w==" } }';
  const k = { name: 'k', value: { bytes: Buffer.from([255]), encoding: 'base64' as const } };
  expect(parse('json', content)).toEqual([secret('db', 'x'), secret('db/main/password', 'y'), k]);
  expect(parse('yaml', content)).toEqual(parse('json', content));
});

test('a name like a field of a value is a name if the encoding, the value or another field says so', () => {
  expect(parse('json', '{"a":{"value":"x"},"b":{"encoding":"base64","value":"y","port":"z"}}')).toEqual([
    secret('a/value', 'x'),
    secret('b/encoding', 'base64'),
    secret('b/value', 'y'),
    secret('b/port', 'z'),
  ]);
});

test.each([
  ['{"a":"\u0001"}', 'a control character'],
  ['{"a":"\\x41"}', 'an escape that JSON has not'],
  ["{'a':'b'}", 'single quotes'],
  ['{"a":"b",}', 'a comma too many'],
  ['{"a" "b"}', 'no colon'],
  ['{"a":"b"}{"c":"d"}', 'a second document'],
  ['{"a":"\\ud800"}', 'half a character'],
  ['{/**/"a":"b"}', 'a comment'],
  ['', 'nothing'],
])('JSON: %j is refused: %s', (content) => {
  expect(errorOf('json', content)?.code).toBe('invalid_request');
});

test.each([
  ['a: &x b\nc: *x', 1, 'an anchor is not allowed'],
  ['a: b\nc: *x', 2, 'an alias is not allowed: write the value itself'],
  ['a: !!binary aGk=', 1, 'a tag is not allowed'],
  ['a: !secret b', 1, 'a tag is not allowed'],
  ['%YAML 1.1\n---\na: "b"', 1, 'a directive is not allowed'],
  ['a: b\n---\nc: d', 2, 'begins a second document: import one at a time'],
  ['a:\n  - b', 2, 'a list is not allowed: give each value a name'],
  ['? a\n: b', 1, 'a name must be plain text before its colon'],
  ['1: b', 1, 'a name must be text: put it in quotes'],
  ['a: b\nport: 5432', 2, 'a number must be in quotes'],
  ['a: ~', 1, 'has no value: write "" for an empty value'],
  ['a:\n\tb: c', 2, 'has a tab where YAML allows only blanks'],
  ['a: "\\q"', 1, 'has an escape that does not exist in YAML'],
  ['a: `b`', 1, 'is not valid YAML'],
  ['a: ', 1, 'has no value: write "" for an empty value'],
])('YAML: %j is refused, with the line', (content, line, sentence) => {
  expect(errorOf('yaml', content)?.message).toBe(`the document: line ${line}: ${sentence}`);
});

test('YAML accepts what people write: comments, plain text, blocks, quotes', () => {
  const content = `# of the billing team
plain: some text # and why
"yes": no
key: |
  line 1
   line 2
folded: >-
  a
  b
single: 'it''s'
db:
  user: "\\u0061"
`;
  expect(parse('yaml', content)).toEqual([
    secret('plain', 'some text'),
    secret('yes', 'no'),
    secret('key', 'line 1\n line 2\n'),
    secret('folded', 'a b'),
    secret('single', "it's"),
    secret('db/user', 'a'),
  ]);
});

test('a merge key merges nothing', () => {
  expect(parse('yaml', '"<<": {a: b}')).toEqual([secret('<</a', 'b')]);
});

function secret(name: string, text: string): DocumentItem {
  return { name, value: { bytes: Buffer.from(text), encoding: 'utf8' } };
}

function parse(format: DocumentFormat, content: string): DocumentItem[] {
  return parseDocument(format, content).items.map(({ name, value }) => ({ name, value }));
}

/** The `AppError` of parsing, if any. Other errors are rethrown. */
function errorOf(format: DocumentFormat, content: string): AppError | undefined {
  try {
    parseDocument(format, content);
    return undefined;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
}

function written(...document: Parameters<typeof formatDocument>): string {
  return [...formatDocument(...document)].join('');
}
