import { expect, test } from '@jest/globals';
import { createRefusalFloods } from '@cardea/api-service/limits/refusal-floods';
import type { Stranger } from '@cardea/testkit/person';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { AuditLog } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Refusal } from '@cardea/contracts/refusal';
import { createLogger } from '@cardea/process/logger';
import { sendBytes } from '@cardea/testkit/raw-http';
import { inEachProfile } from '@cardea/testkit/use-system';
import { clientAt, countStatuses, signIn } from '../identity/identity.ts';
import type { Answer as Received } from '../identity/identity.ts';
import { expectEventually } from './probes.ts';

const SECRET = '/vaults/payments/secrets/db/password';
const FLOOD_MS = 1_000;

inEachProfile(
  (system, { admin }) => {
    /** The refusals of an address, oldest first. */
    async function refusalsFrom(address: string): Promise<AuditEvent[]> {
      const entries = await admin.auditEntries({ decision: 'deny' });
      return entries
        .map(({ event }) => event)
        .filter(({ source }) => source?.ip === address)
        .toReversed();
    }

    function forge(address: string, count: number) {
      const from = clientAt(system, address);
      return Promise.all(Array.from({ length: count }, (_, i) => from.withToken(`forged.${i}`).get(SECRET)));
    }

    const forged = {
      action: 'secret.read',
      decision: 'deny',
      reason: 'unauthenticated',
      suspicious: 'token_malformed',
    };

    test('a flood of forged tokens has one record at once and one with the number that followed, and none is lost', async () => {
      const [one] = await forge('192.0.2.1', 1);
      const alone = await refusalsFrom('192.0.2.1');
      expect(alone).toEqual([expect.objectContaining({ ...forged, requestId: one!.headers['x-request-id'] })]);
      expect(alone[0]!.resource).not.toHaveProperty('count');

      const began = system.steadyMs();
      expect(countStatuses(await forge('192.0.2.1', 60))).toEqual({ 401: 60 });
      const seconds = (system.steadyMs() - began) / FLOOD_MS;
      await expectEventually(async () => {
        const records = await refusalsFrom('192.0.2.1');
        const recorded = records.map(({ resource }) => resource?.count ?? 1).reduce((sum, count) => sum + count);
        expect(recorded).toBe(61);
        for (const record of records) expect(record).toMatchObject(forged);
        // The one alone, and for each second of the sixty the first one and those that followed it.
        expect(records.length).toBeLessThanOrEqual(1 + 2 * (seconds + 1));
      });
    });

    test('a refusal after the second is recorded at once again', async () => {
      await forge('192.0.2.2', 3);
      system.passTime(FLOOD_MS);
      const [later] = await forge('192.0.2.2', 1);
      const records = await refusalsFrom('192.0.2.2');
      const own = records.find(({ requestId }) => requestId === later!.headers['x-request-id']);
      expect(own).toMatchObject(forged);
      expect(own!.resource).not.toHaveProperty('count');
      const counts = records.map(({ resource }) => resource?.count ?? 1);
      expect(counts.reduce((sum, count) => sum + count)).toBe(4);
    });

    test('a flood of sign-ins beyond the limit is recorded together too, apart from other networks, actions and rules', async () => {
      const login = (address: string) =>
        clientAt(system, address).post('/auth/login', { username: 'x', password: 'x' });
      for (let i = 0; i < 10; i += 1) await login('192.0.2.3');
      const refused = await Promise.all(Array.from({ length: 30 }, () => login('192.0.2.3')));
      expect(countStatuses(refused)).toEqual({ 429: 30 });
      await Promise.all([forge('192.0.2.3', 1), forge('192.0.2.4', 1)]);
      const at = clientAt(system, '192.0.2.3');
      await at.withToken('forged').get('/vaults').expect(401);
      await at.withToken('A'.repeat(5_000)).get('/vaults').expect(401);
      const rules = (await refusalsFrom('192.0.2.3')).map(({ action, rule, resource }) => [
        action,
        rule,
        resource?.count,
      ]);
      for (const apart of [
        ['request.refuse', 'rate-limit', undefined],
        ['secret.read', 'token-malformed', undefined],
        ['vault.list', 'token-malformed', undefined],
        ['vault.list', 'token-too-long', undefined],
      ]) {
        expect(rules.filter((rule) => JSON.stringify(rule) === JSON.stringify(apart))).toHaveLength(1);
      }
      expect(await refusalsFrom('192.0.2.4')).toHaveLength(1);
      await expectEventually(async () => {
        const records = (await refusalsFrom('192.0.2.3')).filter(({ rule }) => rule === 'rate-limit');
        expect(records.map(({ resource }) => resource?.count ?? 1).reduce((sum, count) => sum + count)).toBe(30);
      });
    });

    test('a known caller has a record for each vault that is denied', async () => {
      const bob = await system.as('bob');
      const answers = await Promise.all(Array.from({ length: 20 }, () => bob.get('/vaults/none').expect(404)));
      const records = await admin.auditEntries({ vault: 'none' });
      expect(records).toHaveLength(20);
      const ids = answers.map(({ headers }) => headers['x-request-id']);
      expect(new Set(records.map(({ event }) => event.requestId))).toEqual(new Set(ids));
    });

    test('counted refusals are recorded before the process ends', async () => {
      await forge('192.0.2.5', 40);
      await system.stopService('api');
      await system.startService('api');
      const counts = (await refusalsFrom('192.0.2.5')).map(({ resource }) => resource?.count ?? 1);
      expect(counts.reduce((sum, count) => sum + count)).toBe(40);
    });

    test('once the audit log is known not to answer, a refusal that would only be counted is answered 503', async () => {
      let away = false;
      const appended: AuditEvent[] = [];
      const audit: AuditLog = {
        admit() {
          if (away) throw new AppError('unavailable', 'the audit log does not answer');
        },
        async append(event) {
          appended.push(event);
          return { seq: appended.length, leaf: '' };
        },
      };
      const logger = createLogger('test', 'none');
      const floods = createRefusalFloods({
        vault: { audit, now: () => new Date(0), steadyMs: () => 0 },
        logger,
        refusalsPerMinute: 300,
      });
      const error = new AppError('rate_limited', 'too many requests', { rule: 'rate-limit' });
      const caller: Caller = {
        actor: { id: 'anonymous', type: 'anonymous' },
        source: { ip: '192.0.2.9' },
        requestId: 'r',
      };
      const refusal: Refusal = { caller, action: 'request.refuse', params: {}, body: undefined, error };
      await floods.record(refusal);
      await floods.record(refusal);
      away = true;
      await expect(floods.record(refusal)).rejects.toMatchObject({ code: 'unavailable' });
      away = false;
      await floods.flush();
      expect(appended.map(({ resource }) => resource?.count)).toEqual([undefined, 1]);
    });

    test('while the audit log does not answer, every request of a flood is answered 503', async () => {
      await system.stopService('audit');
      expect(countStatuses(await forge('192.0.2.6', 5))).toEqual({ 503: 5 });
      expect(countStatuses(await forge('192.0.2.6', 5))).toEqual({ 503: 5 });
      await system.startService('audit');
    });
  },
  { CARDEA_TRUSTED_PROXIES: '1', CARDEA_SIGN_INS_PER_MINUTE: '10' },
);

const REFUSALS_PER_MINUTE = 10;
/** What a network may write one by one, with what a slow machine adds in the seconds that the requests take. */
const RECORDS_MAX = 2 * REFUSALS_PER_MINUTE + 20;
const SENT = 80;

inEachProfile(
  (system, { admin }) => {
    async function refusalsFrom(address: string): Promise<AuditEvent[]> {
      const entries = await admin.auditEntries({ decision: 'deny' });
      return entries.map(({ event }) => event).filter(({ source }) => source?.ip === address);
    }

    /** Every refusal is counted in a record, and there are few records. */
    async function expectBounded(address: string): Promise<AuditEvent[]> {
      let refusals: AuditEvent[] = [];
      await expectEventually(async () => {
        refusals = (await refusalsFrom(address)).filter(({ action }) => action !== 'caller.drop');
        expect(refusals.map(({ resource }) => resource?.count ?? 1).reduce((sum, count) => sum + count, 0)).toBe(SENT);
      });
      expect(refusals.length).toBeLessThanOrEqual(RECORDS_MAX);
      return refusals;
    }

    let addresses = 100;
    const elsewhere = () => `192.0.2.${(addresses += 1)}`;

    test.each<[string, number, (from: Stranger, i: number) => PromiseLike<Received>]>([
      ['paths that nothing serves', 404, (from, i) => from.get(`/nothing/${i}`)],
      ['methods that a path does not take', 405, (from) => from.delete('/auth/login')],
      ['odd paths', 400, (from, i) => from.get(`/vaults//${i}`)],
    ])('a stranger who asks for %s is dropped, and writes no more than a few records', async (_what, status, ask) => {
      const address = elsewhere();
      const from = clientAt(system, address);
      const counts = countStatuses(await send((i) => ask(from, i)));
      expect(counts[status]).toBeGreaterThan(0);
      expect(counts[status]).toBeLessThanOrEqual(REFUSALS_PER_MINUTE + 8);
      expect(counts[429]).toBe(SENT - counts[status]!);
      const refusals = await expectBounded(address);
      expect(refusals).toContainEqual(
        expect.objectContaining({ action: 'request.refuse', reason: 'rate_limited', rule: 'denial-watch' }),
      );
      expect((await refusalsFrom(address)).filter(({ action }) => action === 'caller.drop')).not.toEqual([]);
      // Others at the same address may sign in.
      await signIn(system, { username: 'alice' }, from);
    });

    test.each<[string, number, (from: Stranger, i: number) => PromiseLike<Received>]>([
      ['malformed bodies for a token', 400, (from) => from.request('post', '/auth/token').type('json').send('{"')],
      ['wrong client secrets', 401, (from, i) => from.post('/auth/token', credentials(i))],
      ['unknown refresh tokens', 401, (from, i) => from.post('/auth/refresh', { refresh_token: `unknown-${i}` })],
      ['bodies that are no sign-in', 400, (from) => from.post('/auth/login', { user: 'x' })],
      ['webhooks without a signature', 401, (from) => from.post('/webhooks/kek-rotation', { type: 'x' })],
    ])('a stranger who sends %s is answered, and writes no more than a few records', async (_what, status, ask) => {
      const address = elsewhere();
      const from = clientAt(system, address);
      expect(countStatuses(await send((i) => ask(from, i)))).toEqual({ [status]: SENT });
      const refusals = await expectBounded(address);
      const [together] = refusals.filter(({ resource }) => resource?.count !== undefined);
      expect(together).toMatchObject({ decision: 'deny', actor: { type: 'anonymous' } });
      await signIn(system, { username: 'alice' }, from);
    });

    test('what is not HTTP and headers that are too large are dropped like all else', async () => {
      const broken = ['GET / HTTP/1.1\r\nno colon\r\n\r\n', `GET / HTTP/1.1\r\nA: ${'a'.repeat(20_000)}\r\n\r\n`];
      const counts = countStatuses(await send((i) => sendBytes(system.url, broken[i % 2]!)));
      expect(counts[400]).toBeGreaterThan(0);
      expect(counts[431]).toBeGreaterThan(0);
      expect(counts[429]).toBeGreaterThan(SENT / 2);
      const refusals = await expectBounded('127.0.0.1');
      expect(new Set(refusals.map(({ rule, suspicious }) => rule ?? suspicious))).toEqual(
        new Set(['broken_request', 'oversized_header', 'denial-watch']),
      );
    });
  },
  { CARDEA_TRUSTED_PROXIES: '1', CARDEA_REFUSALS_PER_MINUTE: String(REFUSALS_PER_MINUTE) },
);

test('a crowd of networks writes no more than a few records, and each of its refusals is counted', async () => {
  const appended: AuditEvent[] = [];
  const audit: AuditLog = {
    admit() {},
    async append(event) {
      appended.push(event);
      return { seq: appended.length, leaf: '' };
    },
  };
  const logger = createLogger('test', 'none');
  const vault = { audit, now: () => new Date(0), steadyMs: () => 0 };
  const floods = createRefusalFloods({ vault, logger, refusalsPerMinute: 1 });
  const error = new AppError('not_found', 'there is nothing at this path');
  for (let i = 0; i < 3_000; i += 1) {
    const source = { ip: `10.0.${i % 250}.1` };
    const caller: Caller = { actor: { id: 'anonymous', type: 'anonymous' }, source, requestId: `r${i}` };
    await floods.record({ caller, action: 'request.refuse', params: {}, body: undefined, error });
  }
  await floods.flush();
  expect(appended.length).toBeLessThanOrEqual(50);
  expect(appended.map(({ resource }) => resource?.count ?? 1).reduce((sum, count) => sum + count)).toBe(3_000);
  expect(appended.at(-1)).toMatchObject({ action: 'request.refuse', rule: 'counted-together', decision: 'deny' });
});

/** Sends them a few at a time, as a flood would. */
async function send<T>(one: (i: number) => PromiseLike<T>): Promise<T[]> {
  const answers: T[] = [];
  for (let i = 0; i < SENT; i += 8) {
    answers.push(...(await Promise.all(Array.from({ length: 8 }, (_, k) => one(i + k)))));
  }
  return answers;
}

function credentials(i: number) {
  const secret = `cardea_app_${String(i).padStart(43, 'A')}`;
  return { grant_type: 'client_credentials', client_id: 'ci', client_secret: secret };
}
