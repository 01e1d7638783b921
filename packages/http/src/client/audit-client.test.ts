import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { AuditRoom } from '@cardea/contracts/audited';
import { AppError } from '@cardea/contracts/errors';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { createAuditClient } from './audit-client.ts';

const event: AuditEvent = {
  id: '01900000-0000-7000-8000-000000000000',
  ts: '2026-11-22T06:27:28.123456Z',
  action: 'secret.read',
  decision: 'allow',
  actor: { id: 'alice-id', type: 'user' },
};
const unavailable = { code: 'unavailable' };
let asked: string[];

beforeEach(() => {
  asked = [];
  jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
});
afterEach(() => void jest.useRealTimers());

/** A connection to an audit-service that does not answer. */
const connection = {
  post: (path: string) => noAnswer(path),
  text: (path: string) => noAnswer(path),
};

async function noAnswer(path: string): Promise<never> {
  asked.push(path);
  throw new AppError('unavailable', 'audit-service does not answer');
}

/** Advances the clock and returns the paths that the client requests in that time. */
async function askedWithin(ms: number): Promise<string[]> {
  asked = [];
  await jest.advanceTimersByTimeAsync(ms);
  return asked;
}

/** Resolves once the event has been sent for the first time. */
async function sent(): Promise<void> {
  while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
}

test('a log that does not answer is probed until its client is closed, and then no more', async () => {
  const log = createAuditClient(connection);
  const refused = expect(log.append(event)).rejects.toMatchObject(unavailable);
  await sent();
  await jest.advanceTimersByTimeAsync(6_000);
  await refused;
  expect(new Set(await askedWithin(1_000))).toEqual(new Set(['/v1/checkpoint']));

  log.close();
  expect(await askedWithin(10_000)).toEqual([]);
  expect(() => log.admit()).toThrow(expect.objectContaining(unavailable));
});

test('an event that waits when its client is closed is refused and not sent again', async () => {
  const log = createAuditClient(connection);
  const refused = expect(log.append(event)).rejects.toMatchObject(unavailable);
  await sent();
  log.close();
  await jest.advanceTimersByTimeAsync(50);
  await refused;
  expect(await askedWithin(10_000)).toEqual([]);
});

test('each event gets its own receipt', async () => {
  const ids = ['01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000002'];
  const answers = [
    ids.map((id, seq) => ({ id, seq, leaf: `leaf ${seq}` })),
    ids.toReversed().map((id, seq) => ({ id, seq, leaf: `leaf ${seq}` })),
    [{ id: ids[0], seq: 7, leaf: 'leaf 7' }],
  ];
  const log = createAuditClient({ ...connection, post: async () => ({ items: answers.shift() }) });
  const results = [];
  for (let batch = 0; batch < 3; batch += 1) {
    results.push(await Promise.allSettled(ids.map((id) => log.append({ ...event, id }))));
  }

  const refused = { status: 'rejected', reason: { code: 'internal' } };
  expect(results).toMatchObject([
    [{ value: { seq: 0, leaf: 'leaf 0' } }, { value: { seq: 1, leaf: 'leaf 1' } }],
    [refused, refused],
    [{ value: { seq: 7, leaf: 'leaf 7' } }, refused],
  ]);
});

test('an observer learns of the receipt that an event got or did not get, and how long it waited', async () => {
  const ended: [string, number][] = [];
  const observer = { ended: (outcome: string, seconds: number) => void ended.push([outcome, seconds]) };
  const log = createAuditClient(connection, undefined, observer);
  const refused = expect(log.append(event)).rejects.toMatchObject(unavailable);
  await sent();
  expect(log.waiting()).toBe(1);
  await jest.advanceTimersByTimeAsync(6_000);
  await refused;
  expect(log.waiting()).toBe(0);
  expect(ended).toEqual([['failed', expect.any(Number)]]);
  expect(ended[0]![1]).toBeGreaterThanOrEqual(5);
  log.close();

  const items = [{ id: event.id, seq: 7, leaf: 'leaf' }];
  const answering = createAuditClient({ ...connection, post: async () => ({ items }) }, undefined, observer);
  await expect(answering.append(event)).resolves.toEqual({ seq: 7, leaf: 'leaf' });
  expect(ended.map(([outcome]) => outcome)).toEqual(['failed', 'acknowledged']);
  answering.close();
});

const idOf = (n: number) => `01900000-0000-7000-8000-${String(n).padStart(12, '0')}`;

/** A log that answers a batch only when it is told to. */
function slowLog() {
  const batches: { ids: string[]; answer(): void }[] = [];
  const post = (_path: string, body: string) => {
    const ids = (JSON.parse(body) as { events: AuditEvent[] }).events.map(({ id }) => id);
    return new Promise((resolve) => {
      const answer = () => resolve({ items: ids.map((id, seq) => ({ id, seq, leaf: '' })) });
      batches.push({ ids, answer });
    });
  };
  return { log: createAuditClient({ ...connection, post }), batches };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function answerAll(batches: { answer(): void }[]): Promise<void> {
  for (let quiet = 0; quiet < 3; quiet += 1) {
    while (batches.length > 0) {
      batches.shift()!.answer();
      quiet = 0;
      await turn();
    }
    await turn();
  }
}

describe('a log that is slow', () => {
  let next = 0;
  const appendMany = (log: ReturnType<typeof createAuditClient>, count: number, room?: AuditRoom) =>
    Array.from({ length: count }, () => log.append({ ...event, id: idOf((next += 1)) }, room));

  test('takes every event that has room, however many others came in between, and refuses one without', async () => {
    const { log, batches } = slowLog();
    const room = await log.reserve!(10);
    const others = appendMany(log, 4_086);
    expect(() => log.admit()).toThrow(expect.objectContaining(unavailable));
    await expect(log.append(event)).rejects.toMatchObject(unavailable);
    await expect(log.reserve!(2)).rejects.toMatchObject(unavailable);
    const promised = appendMany(log, 10, room);
    await answerAll(batches);
    expect(await Promise.all([...others, ...promised])).toHaveLength(4_096);
    // All places are free again.
    expect(log.waiting()).toBe(0);
    const again = appendMany(log, 4_096);
    await answerAll(batches);
    await Promise.all(again);
  });

  test('lets a bulk request wait for those of others, and leaves room for small ones meanwhile', async () => {
    const { log, batches } = slowLog();
    const first = appendMany(log, 1_000, await log.reserve!(1_000));
    const second = appendMany(log, 1_000, await log.reserve!(1_000));
    let hasEntered = false;
    const third = log.reserve!(1_000).then((room) => {
      hasEntered = true;
      return room;
    });
    await turn();
    expect(hasEntered).toBe(false);
    log.admit();
    const few = appendMany(log, 100);

    // The two batches under way are of bulk. The next one has the small requests, and bulk gets a part of it.
    batches[0]!.answer();
    await turn();
    await turn();
    const firstOfFew = idOf(next - 99);
    expect(batches.at(-1)!.ids.slice(0, 100)).toContain(firstOfFew);
    expect(batches.at(-1)!.ids).toHaveLength(256);
    await answerAll(batches);
    await Promise.all([...first, ...second, ...few]);
    expect(hasEntered).toBe(true);
    (await third).release();
  });

  test('refuses a bulk request that gets no room in time, before any of its events is sent', async () => {
    const { log, batches } = slowLog();
    const held = await log.reserve!(3_000);
    const refused = expect(log.reserve!(17)).rejects.toMatchObject(unavailable);
    await jest.advanceTimersByTimeAsync(5_000);
    await refused;
    expect(batches).toEqual([]);
    held.release();
    (await log.reserve!(17)).release();
  });
});
