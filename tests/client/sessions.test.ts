import { createClient, memorySession } from '@cardea/client';
import { Person } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import { useSystem } from '@cardea/testkit/use-system';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { faultyFetch } from './faults.ts';

const [system, { admin, alice }] = useSystem('mini');
const refreshes = (sent: string[]) => sent.filter((request) => request.endsWith('/auth/refresh')).length;
const decisions = async (action: string) => {
  const entries = await (await system.as('admin')).auditEntries({ action });
  return entries.map(({ event }) => [event.actor.name, event.decision, event.suspicious]);
};

/** A session of alice that a store keeps, and a client without an access token yet. */
async function aliceElsewhere() {
  const { fetch, sent, loseAnswers, stallAnswer } = faultyFetch();
  const session = memorySession();
  await createClient({ url: system.url }).auth.signIn({ username: 'alice', password: PASSWORD });
  const first = createClient({ url: system.url, fetch, credentials: { session } });
  await first.auth.signIn({ username: 'alice', password: PASSWORD });
  const client = createClient({ url: system.url, fetch, credentials: { session } });
  return { client, session, sent, loseAnswers, stallAnswer };
}

test('many calls at once refresh a session once, and each refresh token is stored before its access token is used', async () => {
  const { client, session, sent } = await aliceElsewhere();
  const before = await session.load();
  const names = await Promise.all(Array.from({ length: 20 }, async () => (await client.auth.me()).name));
  expect(new Set(names)).toEqual(new Set(['alice']));
  expect(refreshes(sent)).toBe(1);
  expect((await session.load())?.refreshToken).not.toBe(before?.refreshToken);
});

test('a refresh whose answer was lost is repeated at once, and the session goes on', async () => {
  const { client, sent, loseAnswers } = await aliceElsewhere();
  loseAnswers(/auth\/refresh$/, 1);
  expect((await client.auth.me()).name).toBe('alice');
  expect(refreshes(sent)).toBe(2);
  expect((await decisions('auth.refresh')).filter(([, , suspicious]) => suspicious !== undefined)).toEqual([]);
});

test('a refresh that stalls is repeated before the server stops repeating its answer, and a sign-in waits for it and wins', async () => {
  const { client, session, sent, stallAnswer } = await aliceElsewhere();
  stallAnswer(/auth\/refresh$/);
  // The server repeats its answer for ten seconds by this clock, and the refresh gives up after three by the real one.
  system.stopClock();
  const renewing = client.auth.me();
  await expectEventually(async () => expect(refreshes(sent)).toBe(1));
  await client.auth.signIn({ username: 'bob', password: PASSWORD });
  expect((await renewing).name).toBe('alice');
  expect(refreshes(sent)).toBe(2);
  system.startClock();
  expect((await client.auth.me()).name).toBe('bob');
  expect((await createClient({ url: system.url, credentials: { session } }).auth.me()).name).toBe('bob');
  expect((await decisions('auth.refresh')).filter(([, , suspicious]) => suspicious !== undefined)).toEqual([]);
});

test('those who share a session in memory have it one after the other, also after an error', async () => {
  const session = memorySession();
  const order: string[] = [];
  const work = (name: string) =>
    session.exclusive(async () => {
      order.push(`${name} begins`);
      await new Promise(setImmediate);
      order.push(`${name} ends`);
      if (name === 'a') throw new Error('a failed');
    });
  const [a, b] = await Promise.allSettled([work('a'), work('b')]);
  expect([a.status, b.status]).toEqual(['rejected', 'fulfilled']);
  expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
});

test('a call with a token that has ended gets another one and is sent again, once', async () => {
  const { client, sent } = await aliceElsewhere();
  await client.auth.me();
  system.passTime(6 * MINUTE_MS);
  expect((await client.auth.me()).name).toBe('alice');
  expect(refreshes(sent)).toBe(2);
  expect(sent.filter((request) => request.endsWith('/auth/me'))).toHaveLength(3);
});

test('a session that was ended is forgotten, and every call says that nobody has signed in', async () => {
  const { client, session } = await aliceElsewhere();
  await client.auth.me();
  const elsewhere = await Person.signIn(system.url, 'alice', PASSWORD);
  const sessions = (await elsewhere.get('/auth/sessions').expect(200)).body.items as {
    id: string;
    current: boolean;
  }[];
  for (const { id, current } of sessions) if (!current) await elsewhere.delete(`/auth/sessions/${id}`).expect(204);

  await expect(client.auth.me()).rejects.toMatchObject({ code: 'unauthenticated', status: 401 });
  expect(await session.load()).toBeUndefined();
  await expect(client.auth.me()).rejects.toMatchObject({ code: 'unauthenticated', status: undefined });
});

test('signing out ends the session at the server and forgets it here', async () => {
  const { client, session } = await aliceElsewhere();
  await client.auth.signOut();
  expect(await session.load()).toBeUndefined();
  expect((await decisions('auth.logout'))[0]).toEqual(['alice', 'allow', undefined]);
});

test('an application gets tokens as it needs them, and a wrong client secret is unauthenticated', async () => {
  await system.as('admin');
  const { body } = await admin.post('/applications', { name: 'ci' }).expect(201);
  const { fetch, sent } = faultyFetch();
  const { clientId, clientSecret } = body as { clientId: string; clientSecret: string };
  const client = createClient({ url: system.url, fetch, credentials: { clientId, clientSecret } });
  await Promise.all([client.auth.me(), client.auth.me(), client.auth.me()]);
  expect(sent.filter((request) => request.endsWith('/auth/token'))).toHaveLength(1);
  const wrong = createClient({ url: system.url, credentials: { clientId, clientSecret: 'wrong' } });
  await expect(wrong.auth.me()).rejects.toMatchObject({ code: 'unauthenticated', status: 401 });
});

test('an access token that somebody else renews is not replaced', async () => {
  await system.as('alice');
  const client = createClient({ url: system.url, credentials: { token: alice.token } });
  expect((await client.auth.me()).name).toBe('alice');
  system.passTime(6 * MINUTE_MS);
  await expect(client.auth.me()).rejects.toMatchObject({ code: 'unauthenticated', status: 401 });
});

test('one caller who gives up does not stop the sign-in that others wait for', async () => {
  const { client } = await aliceElsewhere();
  const impatient = new AbortController();
  const given = client.auth.me({ signal: impatient.signal });
  const waiting = client.auth.me();
  impatient.abort(new Error('too slow for me'));
  await expect(given).rejects.toThrow('too slow for me');
  expect((await waiting).name).toBe('alice');
});
