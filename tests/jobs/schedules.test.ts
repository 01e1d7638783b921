import { createBullmqQueue } from '@cardea/jobs/bullmq';
import { startRedis } from '@cardea/testkit/servers';
import type { RedisServer } from '@cardea/testkit/servers';
import { scheduleJobs } from '@cardea/vault/jobs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { expectEventually } from '../access/probes.ts';

// Profile full only: in mini the schedules are in the process.
let redis: RedisServer;
let control: Redis;

beforeAll(async () => {
  redis = await startRedis();
  control = new Redis(new URL(redis.url).pathname);
});
afterAll(async () => {
  control.disconnect();
  await redis.stop();
});

test('a process that starts while Redis does not answer registers every schedule once it does', async () => {
  const usual = open('usual', 60_000);
  await scheduleJobs(usual);
  const all = await scheduledIn('usual');
  expect(all.length).toBeGreaterThan(5);

  process.kill(redis.pid(), 'SIGSTOP');
  const late = open('late', 50);
  await expect(scheduleJobs(late)).rejects.toThrow('Redis did not answer in time');
  process.kill(redis.pid(), 'SIGCONT');
  await expectEventually(async () => expect(await scheduledIn('late')).toEqual(all));
  for (const queue of [usual, late]) await queue.close();
});

function open(prefix: string, answerWithinMs: number) {
  return createBullmqQueue({ redis: { url: redis.url }, prefix, answerWithinMs, onError: () => undefined });
}

/** The names of the jobs that have a schedule. */
async function scheduledIn(prefix: string): Promise<string[]> {
  return (await control.keys(`${prefix}:*:repeat`)).map((key) => key.split(':')[1]!).toSorted();
}
