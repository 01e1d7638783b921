import { describe, expect, test } from '@jest/globals';
import { findAnomaly } from './linearizability.ts';
import type { Operation, Outcome, Question } from './operations.ts';
import { step, unwritten } from './register.ts';
import { seededRandom } from '@cardea/testkit/random';
import type { Random } from '@cardea/testkit/random';

const KEPT = 3;
const lost: Outcome = { is: 'lost' };
const missing: Outcome = { is: 'missing' };
const failed: Outcome = { is: 'precondition failed' };
const deleted: Outcome = { is: 'deleted' };

const put = (value: string, condition: { ifMatch?: number; ifAbsent?: true } = {}): Question => {
  return { kind: 'put', value, ...condition };
};
const get: Question = { kind: 'get' };
const remove: Question = { kind: 'delete' };
const restore: Question = { kind: 'restore' };

function written(version: number, how: { changed?: boolean; isNew?: boolean } = {}): Outcome {
  return { is: 'written', version, changed: true, isNew: version === 1, ...how };
}

function read(version: number, value: string): Outcome {
  return { is: 'read', version, value };
}

type Call = [question: Question, outcome: Outcome, at?: [from: number, to: number]];

/** Calls one after the other, but for those that say when they were under way: `[3, 8]` is from the 3rd call's time to the 8th's. */
function history(...calls: Call[]): Operation[] {
  return calls.map(([question, outcome, [from, to] = [0, 0]], index) => ({
    client: index,
    name: 's',
    question,
    outcome,
    invokedAt: (from || index + 1) * 100 + index,
    answeredAt: outcome.is === 'lost' ? Infinity : (to || index + 1) * 100 + 50 + index,
  }));
}

function isExplained(operations: Operation[]): boolean {
  return findAnomaly(operations, KEPT) === undefined;
}

describe('one order explains', () => {
  test.each<[string, Call[]]>([
    ['nothing', []],
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
      'reads beside a write, of which one sees it and one does not',
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
        [put('b'), lost],
        [get, read(1, 'a')],
        [get, read(2, 'b')],
      ],
    ],
    [
      'a lost write that nobody sees, of which a number is missing',
      [
        [put('a'), written(1)],
        [put('b'), lost],
        [put('c'), written(3)],
      ],
    ],
    [
      'a lost write that was never done',
      [
        [put('a'), written(1)],
        [put('b'), lost],
        [put('c'), written(2)],
        [get, read(2, 'c')],
      ],
    ],
    [
      'a lost deletion that is done late',
      [
        [put('a'), written(1)],
        [remove, lost],
        [get, read(1, 'a')],
        [get, missing],
      ],
    ],
    [
      'a trash that keeps what is in it, however much is written after',
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
      ],
    ],
  ])('%s', (_what, calls) => {
    expect(isExplained(history(...calls))).toBe(true);
  });
});

describe('no order explains', () => {
  const begun: Call[] = [[put('a'), written(1)]];
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
      'a 304 for what the client does not have',
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
      'a lost update: a write on a condition that another has made untrue',
      [
        [put('b'), written(2)],
        [put('c', { ifMatch: 1 }), written(3)],
      ],
    ],
    [
      'a write that was acknowledged and is gone',
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
    ['a version number left out', [[put('b'), written(3)]]],
    ['a value that was never written', [[get, read(1, 'x')]]],
    [
      'a value of another version',
      [
        [put('b'), written(2)],
        [{ kind: 'get', version: 1 }, read(1, 'b')],
      ],
    ],
    [
      'a value before it was sent',
      [
        [get, read(2, 'b')],
        [put('b'), lost],
      ],
    ],
    [
      'a lost write that is done twice',
      [
        [put('b'), lost],
        [get, read(2, 'b')],
        [put('c'), written(3)],
        [get, read(4, 'b')],
      ],
    ],
    [
      'a lost write on a condition that did not hold',
      [
        [put('b', { ifMatch: 2 }), lost],
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
      'an old version that a new write brings back',
      [
        [remove, deleted],
        [put('b'), written(2, { isNew: true })],
        [{ kind: 'get', version: 1 }, read(1, 'a')],
      ],
    ],
    [
      'a deletion that comes undone',
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
      'a restored secret that is not there',
      [
        [remove, deleted],
        [restore, { is: 'restored', version: 1 }],
        [get, missing],
      ],
    ],
    ['something restored that was never deleted', [[restore, { is: 'restored', version: 1 }]]],
    [
      'a version that is kept for too long',
      [
        [put('b'), written(2)],
        [put('c'), written(3)],
        [put('d'), written(4)],
        [{ kind: 'get', version: 1 }, read(1, 'a')],
      ],
    ],
    ['an identical value that makes a version', [[put('a'), written(2)]]],
    ['another value that makes none', [[put('b'), written(1, { changed: false, isNew: false })]]],
    [
      'a new secret that is said to be old',
      [
        [remove, deleted],
        [put('b'), written(2)],
      ],
    ],
  ])('%s', (_what, calls) => {
    const anomaly = findAnomaly(history(...begun, ...calls), KEPT);
    expect(anomaly).toMatchObject({ name: 's', of: expect.any(Number) });
    expect(anomaly!.explained).toBeLessThan(anomaly!.of);
  });

  test('what one reader cannot see, though every other answer fits', () => {
    const anomaly = findAnomaly(
      history(...begun, [put('b'), written(2)], [get, read(1, 'a')], [get, read(2, 'b')]),
      KEPT,
    );
    expect(anomaly).toMatchObject({
      explained: 2,
      of: 4,
      register: { newest: 2, trashedThrough: 0, values: ['a', 'b'] },
    });
    expect(anomaly!.stuck.map(({ outcome }) => outcome)).toEqual([read(1, 'a')]);
  });
});

describe('of four hundred calls', () => {
  const seeds = Array.from({ length: 8 }, (_, number) => `seed ${number}`);

  test.each(seeds)(
    'that eight clients made of one register, a tenth of them lost, one order explains all: %s',
    (seed) => {
      expect(isExplained(simulate(seededRandom(seed), { calls: 400, overlap: 8, lost: 0.1 }))).toBe(true);
    },
  );

  test.each(seeds)('that were made one by one, any changed answer is found: %s', (seed) => {
    const random = seededRandom(seed);
    const calls = simulate(random, { calls: 400, overlap: 0, lost: 0 });
    const index = random.below(calls.length);
    const others = calls.map(({ outcome }) => outcome).filter((outcome) => !isSame(outcome, calls[index]!.outcome));
    calls[index] = { ...calls[index]!, outcome: random.pick(others as [Outcome]) };
    expect(isExplained(calls)).toBe(false);
  });
});

function isSame(one: Outcome, other: Outcome): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Calls of a register that keeps the contract: each is done at a moment of its own between its two times. */
function simulate(random: Random, how: { calls: number; overlap: number; lost: number }): Operation[] {
  const plans = Array.from({ length: how.calls }, (_, number) => {
    const isLost = random.chance(how.lost);
    const doneAt = number + random.below(1_000) / 1_001 + (isLost ? random.below(200) : 0);
    return { number, isLost, isDone: !isLost || random.chance(0.5), doneAt };
  });
  const operations: Operation[] = [];
  let register = unwritten;
  for (const plan of plans.toSorted((a, b) => a.doneAt - b.doneAt)) {
    const question = ask(random, plan.number, register.newest);
    const { outcome, next } = step(register, question, KEPT);
    if (plan.isDone) register = next;
    const spread = (random.below(1_000) / 1_000) * how.overlap;
    operations.push({
      client: 0,
      name: 's',
      question,
      outcome: plan.isLost ? lost : outcome,
      invokedAt: plan.isLost ? plan.number : plan.doneAt - spread,
      answeredAt: plan.isLost ? Infinity : plan.doneAt + (random.below(1_000) / 1_000) * how.overlap,
    });
  }
  return operations;
}

function ask(random: Random, number: number, newest: number): Question {
  const value = random.chance(0.1) ? 'the same' : `value ${number}`;
  const version = Math.max(0, newest - random.below(3));
  return random.pick<Question>([
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
