import { expect, test } from '@jest/globals';
import { SharedReads, isSharable } from '../src/shared-reads.ts';

const SQL = 'select value from counter where name = $1';

/** Reads whose statements are sent, and answered, when the test says so. */
function createReads() {
  const asked: { params: unknown[]; send(): void; answer(rows: unknown[]): void; fail(error: Error): void }[] = [];
  const reads = new SharedReads((_sql, params, sent) => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown[]>();
    asked.push({ params, send: sent, answer: resolve, fail: reject });
    return promise;
  });
  return { reads, asked };
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test('reads that are asked for before the statement is sent share it, and a later one has its own', async () => {
  const { reads, asked } = createReads();
  const first = [reads.read(SQL, ['a']), reads.read(SQL, ['a'])];
  await nextTurn();
  // It waits for a connection.
  first.push(reads.read(SQL, ['a']));
  asked[0]!.send();
  const later = reads.read(SQL, ['a']);
  await nextTurn();
  asked[1]!.send();
  asked[0]!.answer([{ value: 1 }]);
  asked[1]!.answer([{ value: 2 }]);
  expect(await Promise.all(first)).toEqual([[{ value: 1 }], [{ value: 1 }], [{ value: 1 }]]);
  expect(await later).toEqual([{ value: 2 }]);
  expect(asked).toHaveLength(2);
});

test('reads with other parameters do not share a statement', async () => {
  const { reads, asked } = createReads();
  for (const params of [['1'], [1], [null], ['null'], ['a', 'b'], ['a","b']]) void reads.read(SQL, params);
  await nextTurn();
  expect(asked).toHaveLength(6);
});

test('an error reaches everybody who shares the statement, and nobody after them', async () => {
  const { reads, asked } = createReads();
  const first = [reads.read(SQL, ['a']), reads.read(SQL, ['a'])].map((rows) => rows.catch(String));
  await nextTurn();
  // Never sent: there was no connection.
  asked[0]!.fail(new Error('away'));
  expect(await Promise.all(first)).toEqual(['Error: away', 'Error: away']);
  const later = reads.read(SQL, ['a']);
  await nextTurn();
  asked[1]!.send();
  asked[1]!.answer([]);
  expect(await later).toEqual([]);
});

test('only reads are shared, with parameters that JSON tells apart', () => {
  expect(isSharable(SQL, ['a', 1, null])).toBe(true);
  expect(isSharable(SQL, [new Uint8Array(1)])).toBe(false);
  expect(isSharable(SQL, [1n])).toBe(false);
  for (const sql of ['update counter set value = 1', 'delete from counter returning name']) {
    expect(isSharable(sql, [])).toBe(false);
  }
});
