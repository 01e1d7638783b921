import { describe, expect, test } from '@jest/globals';
import { findAnomaly } from './linearizability.ts';
import type { Operation, Outcome, Request } from './operations.ts';
import { step, unwritten } from './register.ts';
import { settle } from './settle.ts';
import type { ChangeRecord } from './settle.ts';
import { seededRandom } from '@cardea/testkit/random';
import type { Random } from '@cardea/testkit/random';

const KEPT = 3;
const missing: Outcome = { is: 'missing' };
const failed: Outcome = { is: 'precondition failed' };
const deleted: Outcome = { is: 'deleted' };

const put = (value: string, condition: { ifMatch?: number; ifAbsent?: true } = {}): Request => {
  return { kind: 'put', value, ...condition };
};
const get: Request = { kind: 'get' };
const remove: Request = { kind: 'delete' };
const restore: Request = { kind: 'restore' };

function written(version: number, how: { changed?: boolean; isNew?: boolean } = {}): Outcome {
  return { is: 'written', version, changed: true, isNew: version === 1, ...how };
}

function read(version: number, value: string): Outcome {
  return { is: 'read', version, value };
}

type Call = [request: Request, outcome: Outcome, at?: [from: number, to?: number]];

/**
 * Calls one after the other, except calls with `at`: `[3, 8]` runs from the time of the 3rd call to that of the 8th, and
 * `[3]` from the time of the 3rd call without an answer.
 */
function history(...calls: Call[]): Operation[] {
  return calls.map(([request, outcome, [from, to = Infinity] = [0, 0]], index) => ({
    client: index,
    name: 's',
    request,
    outcome,
    invokedAt: (from || index + 1) * 100 + index,
    answeredAt: (to || index + 1) * 100 + 50 + index,
  }));
}

function isExplained(operations: Operation[]): boolean {
  return findAnomaly(operations, KEPT) === undefined;
}

describe('one order explains', () => {
  test.each<[string, Call[]]>([
    ['no calls', []],
    [
      'calls one after the other',
      [
        [get, missing],
        [put('a'), written(1)],
        [put('a'), written(1, { changed: false, isNew: false })],
        [put('b', { ifMatch: 1 }), written(2)],
        [put('c', { ifAbsent: true }), failed],
        [
          { kind: 'get', unlessVersion: 2 },
          { is: 'known already', version: 2 },
        ],
        [{ kind: 'get', version: 1 }, read(1, 'a')],
        [remove, deleted],
        [get, missing],
        [put('c', { ifAbsent: true }), written(3, { isNew: true })],
        [{ kind: 'get', version: 2 }, missing],
        [restore, { is: 'restored', version: 3 }],
        [{ kind: 'get', version: 2 }, read(2, 'b')],
        [put('d'), written(4)],
        [{ kind: 'get', version: 1 }, missing],
      ],
    ],
    [
      'two reads during a write, of which one sees the write and one does not',
      [
        [put('a'), written(1)],
        [put('b'), written(2), [2, 5]],
        [get, read(2, 'b'), [2, 5]],
        [get, read(1, 'a'), [2, 5]],
      ],
    ],
    [
      'a lost write that is seen later',
      [
        [put('a'), written(1)],
        [put('b'), { is: 'written', version: 2, changed: true }, [2]],
        [get, read(1, 'a')],
        [get, read(2, 'b')],
      ],
    ],
    [
      'a lost write that no read sees but whose version number is used',
      [
        [put('a'), written(1)],
        [put('b'), { is: 'written', version: 2, changed: true }, [2]],
        [put('c'), written(3)],
      ],
    ],
    [
      'a lost deletion that is done late',
      [
        [put('a'), written(1)],
        [remove, { is: 'deleted', version: 1 }, [2]],
        [get, read(1, 'a')],
        [get, missing],
      ],
    ],
    [
      'a trash that keeps its versions, even after many later writes',
      [
        [put('a'), written(1)],
        [remove, deleted],
        [put('b'), written(2, { isNew: true })],
        [put('c'), written(3)],
        [put('d'), written(4)],
        [put('e'), written(5)],
        [{ kind: 'get', version: 2 }, missing],
        [restore, { is: 'restored', version: 5 }],
        [{ kind: 'get', version: 1 }, read(1, 'a')],
        [put('f'), written(6)],
        [{ kind: 'get', version: 1 }, missing],
        [restore, { is: 'restored', version: 6 }],
        [{ kind: 'get', version: 1 }, read(1, 'a')],
        [remove, deleted],
        [restore, { is: 'restored', version: 6 }],
        [put('g'), written(7)],
        [{ kind: 'get', version: 1 }, missing],
        [restore, missing],
      ],
    ],
  ])('%s', (_what, calls) => {
    expect(isExplained(history(...calls))).toBe(true);
  });
});

describe('no order explains', () => {
  const firstCalls: Call[] = [[put('a'), written(1)]];
  test.each<[string, Call[]]>([
    [
      'a stale read',
      [
        [put('b'), written(2)],
        [get, read(1, 'a')],
      ],
    ],
    [
      'a stale 304',
      [
        [put('b'), written(2)],
        [
          { kind: 'get', unlessVersion: 1 },
          { is: 'known already', version: 1 },
        ],
      ],
    ],
    [
      'a 304 for a version that the client does not have',
      [
        [
          { kind: 'get', unlessVersion: 7 },
          { is: 'known already', version: 1 },
        ],
      ],
    ],
    [
      'reads of two clients that see two writes in different orders',
      [
        [put('b'), written(2), [2, 7]],
        [get, read(2, 'b'), [3, 3]],
        [get, read(1, 'a'), [4, 4]],
      ],
    ],
    [
      'a lost update: a write whose condition another write has made false',
      [
        [put('b'), written(2)],
        [put('c', { ifMatch: 1 }), written(3)],
      ],
    ],
    [
      'an acknowledged write that is lost',
      [
        [put('b'), written(2)],
        [put('c'), written(2)],
        [get, read(2, 'c')],
      ],
    ],
    [
      'two winners of one If-Match',
      [
        [put('b', { ifMatch: 1 }), written(2), [2, 5]],
        [put('c', { ifMatch: 1 }), written(3), [2, 5]],
      ],
    ],
    [
      'two winners of one creation',
      [
        [remove, deleted],
        [put('b', { ifAbsent: true }), written(2, { isNew: true }), [3, 6]],
        [put('c', { ifAbsent: true }), written(3, { isNew: true }), [3, 6]],
      ],
    ],
    [
      'no winner of one If-Match',
      [
        [put('b', { ifMatch: 1 }), failed, [2, 5]],
        [put('c', { ifMatch: 1 }), failed, [2, 5]],
      ],
    ],
    [
      'a version number used twice',
      [
        [put('b'), written(2), [2, 5]],
        [put('c'), written(2), [2, 5]],
      ],
    ],
    [
      'a version number used again after a deletion',
      [
        [remove, deleted],
        [put('b'), written(1)],
      ],
    ],
    ['a skipped version number', [[put('b'), written(3)]]],
    ['a value that was never written', [[get, read(1, 'x')]]],
    [
      'the value of another version',
      [
        [put('b'), written(2)],
        [{ kind: 'get', version: 1 }, read(1, 'b')],
      ],
    ],
    [
      'a value before it was sent',
      [
        [get, read(2, 'b')],
        [put('b'), { is: 'written', version: 2, changed: true }, [3]],
      ],
    ],
    [
      'a lost write that is done twice',
      [
        [put('b'), { is: 'written', version: 2, changed: true }, [2]],
        [get, read(2, 'b')],
        [put('c'), written(3)],
        [get, read(4, 'b')],
      ],
    ],
    [
      'a lost write whose condition was false',
      [
        [put('b', { ifMatch: 2 }), { is: 'written', version: 2, changed: true }, [2]],
        [get, read(2, 'b')],
      ],
    ],
    [
      'a read after a deletion',
      [
        [remove, deleted],
        [get, read(1, 'a')],
      ],
    ],
    [
      'an old version that can be read after a deletion',
      [
        [remove, deleted],
        [{ kind: 'get', version: 1 }, read(1, 'a')],
      ],
    ],
    [
      'an old version that is readable again after a new write',
      [
        [remove, deleted],
        [put('b'), written(2, { isNew: true })],
        [{ kind: 'get', version: 1 }, read(1, 'a')],
      ],
    ],
    [
      'a deletion that is undone',
      [
        [remove, deleted],
        [get, missing],
        [get, read(1, 'a')],
      ],
    ],
    [
      'two deletions of one secret',
      [
        [remove, deleted, [2, 5]],
        [remove, deleted, [2, 5]],
      ],
    ],
    [
      'a restored secret that does not exist',
      [
        [remove, deleted],
        [restore, { is: 'restored', version: 1 }],
        [get, missing],
      ],
    ],
    ['a restored secret that was never deleted', [[restore, { is: 'restored', version: 1 }]]],
    [
      'a version that is kept too long',
      [
        [put('b'), written(2)],
        [put('c'), written(3)],
        [put('d'), written(4)],
        [{ kind: 'get', version: 1 }, read(1, 'a')],
      ],
    ],
    ['an identical value that makes a new version', [[put('a'), written(2)]]],
    ['another value that makes no new version', [[put('b'), written(1, { changed: false, isNew: false })]]],
    [
      'a new secret that is reported as existing',
      [
        [remove, deleted],
        [put('b'), written(2)],
      ],
    ],
  ])('%s', (_what, calls) => {
    const anomaly = findAnomaly(history(...firstCalls, ...calls), KEPT);
    expect(anomaly).toMatchObject({ name: 's', of: expect.any(Number) });
    expect(anomaly!.explained).toBeLessThan(anomaly!.of);
  });

  test('one stale read among correct answers', () => {
    const anomaly = findAnomaly(
      history(...firstCalls, [put('b'), written(2)], [get, read(1, 'a')], [get, read(2, 'b')]),
      KEPT,
    );
    expect(anomaly).toMatchObject({
      explained: 2,
      of: 4,
      register: { newest: 2, values: ['a', 'b'], trashed: [], restored: [] },
    });
    expect(anomaly!.stuck.map(({ outcome }) => outcome)).toEqual([read(1, 'a')]);
  });
});

describe('a lost call', () => {
  const [answered, later] = history([put('a'), written(1)], [put('c'), written(2)]) as [Operation, Operation];
  const lost = { ...answered, request: put('b'), outcome: { is: 'lost' }, answeredAt: Infinity } as const;

  test('without a record was not done', () => {
    expect(settle([answered, lost, later], new Map())).toEqual([answered, later]);
  });

  test('has the outcome in its record, and was done before an answer with a later position in the log', () => {
    const calls = [{ ...answered, seq: 7 }, lost, { ...later, seq: 9 }];
    const record = { seq: 8, version: 2, isUnchanged: false };
    const outcome = { is: 'written', version: 2, changed: true };
    const decided = (seq: number) => settle(calls, new Map([[lost.invokedAt, { ...record, seq }]]))[1];
    expect(decided(8)).toEqual({ ...lost, outcome, answeredAt: later.answeredAt });
    expect(decided(6)).toEqual({ ...lost, outcome, answeredAt: answered.answeredAt });
    expect(decided(10)).toEqual({ ...lost, outcome, answeredAt: Infinity });
  });
});

describe('a long history is decided', () => {
  const seeds = Array.from({ length: 8 }, (_, number) => `seed ${number}`);
  const few = seeds.slice(0, 2);
  // A quarter has no answer, and what was done of it was done up to 200 calls later.
  const manyLost = { calls: 2_000, overlap: 8, lost: 0.25 } as const;

  test.each(few)('one order explains 2,000 calls of eight clients, of which 500 have no answer: %s', (seed) => {
    const { operations, records } = simulate(seededRandom(seed), manyLost);
    expect(operations.filter(({ outcome }) => outcome.is === 'lost').length).toBeGreaterThan(400);
    expect(isExplained(settle(operations, records))).toBe(true);
  });

  test.each(few)('one lost write is found among 2,000 calls, of which 500 have no answer: %s', (seed) => {
    const { operations, records } = simulate(seededRandom(seed), { ...manyLost, losesWrite: 1_000 });
    expect(isExplained(settle(operations, records))).toBe(false);
  });

  test.each(few)('one new version without a record is found: %s', (seed) => {
    const { operations, records } = simulate(seededRandom(seed), manyLost);
    const lost = operations.filter(({ request, outcome, invokedAt }) => {
      return request.kind === 'put' && outcome.is === 'lost' && records.get(invokedAt)?.isUnchanged === false;
    });
    records.delete(seededRandom(seed).pick(lost as [Operation]).invokedAt);
    expect(isExplained(settle(operations, records))).toBe(false);
  });

  test.each(seeds)('one order explains 400 calls of every kind, of which a tenth have no answer: %s', (seed) => {
    const { operations, records } = simulate(seededRandom(seed), { calls: 400, overlap: 8, lost: 0.1 });
    expect(isExplained(settle(operations, records))).toBe(true);
  });

  test.each(seeds)('one after the other, a changed answer is found: %s', (seed) => {
    const random = seededRandom(seed);
    const { operations: calls } = simulate(random, { calls: 400, overlap: 0, lost: 0 });
    const index = random.below(calls.length);
    const others = calls.map(({ outcome }) => outcome).filter((outcome) => !isSame(outcome, calls[index]!.outcome));
    calls[index] = { ...calls[index]!, outcome: random.pick(others as [Outcome]) };
    expect(isExplained(calls)).toBe(false);
  });
});

function isSame(one: Outcome, other: Outcome): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

interface Simulation {
  calls: number;
  /** How many calls begin while one is under way. */
  overlap: number;
  /** The part of the calls that gets no answer. Half of them are done. */
  lost: number;
  /** From this call on, the first write that makes a version is answered and recorded, but not done. */
  losesWrite?: number;
}

/**
 * Calls to a register that keeps the contract, and their records. Each call takes effect at one moment between its two
 * times, and is recorded then.
 */
function simulate(random: Random, how: Simulation): { operations: Operation[]; records: Map<number, ChangeRecord> } {
  const plans = Array.from({ length: how.calls }, (_, number) => {
    const isLost = random.chance(how.lost);
    const doneAt = number + random.below(1_000) / 1_001 + (isLost ? random.below(200) : 0);
    return { number, isLost, isDone: !isLost || random.chance(0.5), doneAt };
  });
  const operations: Operation[] = [];
  const records = new Map<number, ChangeRecord>();
  let losesWriteFrom = how.losesWrite ?? Infinity;
  let register = unwritten;
  for (const [seq, plan] of plans.toSorted((a, b) => a.doneAt - b.doneAt).entries()) {
    const request = ask(random, plan.number, register.newest);
    const { outcome, next } = step(register, request, KEPT);
    const isForgotten = seq >= losesWriteFrom && !plan.isLost && outcome.is === 'written' && outcome.changed;
    if (isForgotten) losesWriteFrom = Infinity;
    const spread = (random.below(1_000) / 1_000) * how.overlap;
    const invokedAt = plan.isLost ? plan.number : plan.doneAt - spread;
    const isRecorded = plan.isDone && ['written', 'deleted', 'restored'].includes(outcome.is);
    if (isRecorded) records.set(invokedAt, { seq, version: next.newest, isUnchanged: next === register });
    if (plan.isDone && !isForgotten) register = next;
    operations.push({
      client: 0,
      name: 's',
      request,
      outcome: plan.isLost ? { is: 'lost' } : outcome,
      invokedAt,
      answeredAt: plan.isLost ? Infinity : plan.doneAt + (random.below(1_000) / 1_000) * how.overlap,
      ...(plan.isLost ? {} : { seq }),
    });
  }
  return { operations, records };
}

function ask(random: Random, number: number, newest: number): Request {
  const value = random.chance(0.1) ? 'the same' : `value ${number}`;
  const version = Math.max(0, newest - random.below(3));
  return random.pick<Request>([
    put(value),
    put(value),
    put(value, { ifMatch: version }),
    put(value, { ifAbsent: true }),
    get,
    get,
    { kind: 'get', version: version + 1 },
    { kind: 'get', unlessVersion: version },
    remove,
    { kind: 'delete', ifMatch: version },
    restore,
  ]);
}
