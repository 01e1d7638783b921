import type { AuditEvent } from '@cardea/contracts/audit-event';
import { AppError } from '@cardea/contracts/errors';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
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
