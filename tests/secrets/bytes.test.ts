import { beforeAll, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { SECRET_BYTES_MAX } from '@cardea/contracts/secrets/secret-shapes';
import { inEachProfile } from '@cardea/testkit/use-system';

/** A value in the form of the interface, written and read. */
interface Wire {
  value: string;
  encoding: 'utf8' | 'base64';
}

const at = (name: string) => `/vaults/bytes/secrets/${name}`;
const base64 = (bytes: Uint8Array): Wire => ({ value: Buffer.from(bytes).toString('base64'), encoding: 'base64' });
const utf8 = (value: string): Wire => ({ value, encoding: 'utf8' });

const anyBytes = fc.uint8Array({ maxLength: SECRET_BYTES_MAX, size: 'max' }).map(base64);
// Any code point except a lone surrogate, at most four bytes each.
const anyText = fc.string({ unit: 'binary', maxLength: SECRET_BYTES_MAX / 4, size: 'max' }).map(utf8);
const anyValues = fc.array(fc.oneof(anyBytes, anyText), { minLength: 1, maxLength: 4 });

const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const everyControl = String.fromCodePoint(...everyByte.subarray(0, 160));
const full = SECRET_BYTES_MAX;
const knownValues: Wire[] = [
  ...[everyByte, new Uint8Array(0), new Uint8Array(1), new Uint8Array(full).fill(255), new Uint8Array(full - 1)].map(
    base64,
  ),
  ...[
    '',
    '\0',
    everyControl,
    '\uFEFFmark',
    'e\u0301 é',
    '\u2028\u2029',
    '\u{10FFFF}\uFFFF',
    '\u202Ertl',
    '{"$ref":{}}',
  ].map(utf8),
  ...['x'.repeat(full), 'é'.repeat(full / 2), '€'.repeat(full / 3), '😀'.repeat(full / 4), '\n'.repeat(full)].map(utf8),
];

inEachProfile((system, { admin }) => {
  let run = 0;

  beforeAll(async () => {
    await admin.createVault('bytes');
  });

  async function readBack(names: string[]): Promise<Wire[]> {
    const answers = await Promise.all(names.map((name) => admin.get(at(name)).expect(200)));
    return answers.map(({ body: { value, encoding } }) => ({ value, encoding }));
  }

  async function readBatch(names: string[]): Promise<Wire[]> {
    const { body } = await admin.post('/vaults/bytes/secrets:batchRead', { names }).expect(200);
    return (body.items as Wire[]).map(({ value, encoding }) => ({ value, encoding }));
  }

  async function expectToComeBack(values: Wire[]): Promise<void> {
    run += 1;
    const [alone, together] = ['alone', 'together'].map((how) => values.map((_, number) => `${how}/${run}/${number}`));
    for (const [number, value] of values.entries()) await admin.put(at(alone![number]!), value).expect(201);
    const secrets = values.map((value, number) => ({ name: together![number]!, ...value }));
    await admin.post('/vaults/bytes/secrets:batchWrite', { secrets }).expect(200);
    expect(await readBack([...alone!, ...together!])).toEqual([...values, ...values]);
    expect(await readBatch([...together!, ...alone!])).toEqual([...values, ...values]);

    for (const name of alone!) await admin.put(at(name), { value: `between ${run}` }).expect(200);
    for (const name of alone!) {
      const { body } = await admin.post(`${at(name)}:rollback`, { version: 1 }).expect(200);
      expect(body).toMatchObject({ version: 3, changed: true });
    }
    expect(await readBack(alone!)).toEqual(values);
  }

  test('any bytes and any text are read back unchanged, alone, in a batch and after a rollback', async () => {
    await fc.assert(fc.asyncProperty(anyValues, expectToComeBack), { numRuns: 20 });
  });

  test('the shortest and longest values are read back unchanged', async () => {
    await expectToComeBack(knownValues);
  });

  test('a byte too many, and invalid text, are refused by every call', async () => {
    const tooMuch = [
      utf8(`${'€'.repeat(2_730)}abc`),
      base64(new Uint8Array(full + 1)),
      utf8('é'.repeat(full / 2) + 'x'),
    ];
    for (const value of tooMuch) {
      expect((await admin.put(at('refused'), value)).status).toBe(413);
      const secrets = [{ name: 'refused', ...value }];
      expect((await admin.post('/vaults/bytes/secrets:batchWrite', { secrets })).status).toBe(413);
    }
    for (const value of [utf8('\uD800'), utf8('a\uDC00b'), { value: 'x', encoding: 'base64' }]) {
      expect((await admin.put(at('refused'), value)).status).toBe(400);
    }
    await admin.get(at('refused')).expect(404);
  });
});
