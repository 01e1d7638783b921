import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { Person } from '@cardea/testkit/person';
import type { TestSystem } from '@cardea/testkit/system';
import { inEachProfile } from '@cardea/testkit/use-system';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { publish } from '@cardea/vault/webhooks/publish';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { query } from '../secrets/ground.ts';
import { configure, startReceiver } from './receiver.ts';
import type { Receiver } from './receiver.ts';

const VALUE = 'hunter2-never-sent';
const SECRET = { rule: 'token_forged', count: 1, action: 'secret.read', actor: { type: 'anonymous', id: 'anonymous' } };

interface Delivery {
  id: string;
  endpoint: string;
  event: string;
  state: string;
  attempts: number;
  lastFailure?: string;
  nextAttemptAt?: string;
  endedAt?: string;
}

inEachProfile((system) => {
  let admin: Person;
  let receiver: Receiver;
  let vaults = 0;

  beforeEach(async () => {
    await query(system, 'delete from webhook_delivery');
    receiver = await startReceiver();
    await configure(system, [{ name: 'main', url: receiver.url, events: ['security.suspicious'] }]);
    admin = await system.as('admin');
  });
  afterEach(async () => receiver[Symbol.asyncDispose]());

  const deliver = () => system.runJob('webhook.deliver', {});

  /** Writes an event in a transaction, as a feature does. */
  async function tell(count = 1): Promise<void> {
    const publications = Array.from({ length: count }, () => ({
      kind: 'security.suspicious' as const,
      data: SECRET,
      at: system.now().getTime(),
    }));
    await system.vault.db.transaction((tx) => publish(system.vault, tx, publications));
  }

  async function deliveries(search = ''): Promise<Delivery[]> {
    const { body } = await (await system.as('admin')).get(`/webhooks/deliveries${search}`).expect(200);
    return body.items as Delivery[];
  }

  async function only(): Promise<Delivery> {
    const all = await deliveries();
    expect(all).toHaveLength(1);
    return all[0]!;
  }

  async function recordsOf(id: string): Promise<Pick<AuditEvent, 'action' | 'decision' | 'rule' | 'reason'>[]> {
    const entries = await (await system.as('admin')).auditEntries();
    const events = entries.map(({ event }) => event).filter(({ resource }) => resource?.name === id);
    return events.map(({ action, decision, rule, reason }) => ({ action, decision, rule, reason })).toReversed();
  }

  /** What there is of the expiry of a user. */
  async function stored(username: string) {
    const [user] = await query<{ disabled: number }>(system, 'select disabled from app_user where username = $1', [
      username,
    ]);
    const events = await query<{ payload: string }>(system, `select payload from event where kind = 'user.expired'`);
    const records = await (await system.as('admin')).auditEntries({ action: 'user.expire' });
    return {
      disabled: user!.disabled,
      events: events.filter(({ payload }) => payload.includes(username)).length,
      deliveries: (await deliveries()).length,
      records: records.filter(({ event }) => event.resource?.user === username).length,
    };
  }

  /** A vault of alice's with secrets that expire in an hour. */
  async function vaultWithExpiring(...names: string[]): Promise<string> {
    const vault = `vault-${(vaults += 1)}`;
    const alice = await system.as('alice');
    await alice.createVault(vault);
    const expiresAt = new Date(system.now().getTime() + HOUR_MS).toISOString();
    for (const name of names) {
      await alice.put(`/vaults/${vault}/secrets/${name}`, { value: VALUE, expiresAt }).expect(201);
    }
    return vault;
  }

  describe('an event', () => {
    test('reaches the receivers that want it, signed, with names and never a value', async () => {
      const other = await startReceiver();
      await configure(system, [
        { name: 'expiries', url: receiver.url, events: ['secret.expired', 'secret.expiring'] },
        { name: 'others', url: other.url, events: ['kek.rotated'] },
      ]);
      const vault = await vaultWithExpiring('db/password');
      system.passTime(HOUR_MS);
      await system.runJob('secret.sweep', {});
      await deliver();

      const [got] = receiver.got;
      expect(receiver.got).toEqual([expect.objectContaining({ type: 'secret.expired', signed: true })]);
      expect(got!.data).toEqual({
        vault,
        vaultId: expect.any(String),
        name: 'db/password',
        version: 1,
        expiresAt: expect.any(String),
      });
      expect(got!.body).not.toContain(VALUE);
      expect(Math.abs(got!.timestampSeconds - system.now().getTime() / SECOND_MS)).toBeLessThan(60);
      expect(other.got).toEqual([]);
      await other[Symbol.asyncDispose]();

      const delivery = await only();
      expect(delivery).toMatchObject({ id: got!.id, endpoint: 'expiries', state: 'delivered', attempts: 1 });
      expect(await recordsOf(got!.id)).toEqual([
        { action: 'webhook.deliver', decision: 'allow', rule: 'event', reason: 'secret.expired to expiries' },
      ]);
    });

    test('of a break-glass does not tell the reason, which a person typed', async () => {
      await configure(system, [{ name: 'main', url: receiver.url, events: ['secret.breakGlass'] }]);
      const vault = await vaultWithExpiring('db');
      const carla = await system.as('carla');
      await carla.post(`/vaults/${vault}/secrets/db:breakGlass`, { reason: 'the audit of may' }).expect(200);
      await deliver();
      expect(receiver.got[0]!.data).toEqual({
        vault,
        vaultId: expect.any(String),
        name: 'db',
        version: 1,
        by: { id: expect.any(String), name: 'carla' },
      });
      expect(receiver.got[0]!.body).not.toContain('audit of may');
    });

    test('of a user has no vault', async () => {
      await configure(system, [{ name: 'main', url: receiver.url, events: ['user.expired'] }]);
      const username = `leaver-${(vaults += 1)}`;
      const expiresAt = new Date(system.now().getTime() + HOUR_MS).toISOString();
      await (await system.as('admin')).post('/users', { username, role: 'developer', expiresAt }).expect(201);
      system.passTime(HOUR_MS);
      await system.runJob('user.sweep', {});
      await deliver();
      expect(receiver.got.map(({ data }) => data)).toEqual([{ username, expiresAt }]);
    });

    test('and its change are stored together or not at all', async () => {
      await configure(system, [{ name: 'main', url: receiver.url, events: ['user.expired'] }]);
      const username = `leaver-${(vaults += 1)}`;
      const expiresAt = new Date(system.now().getTime() + HOUR_MS).toISOString();
      await (await system.as('admin')).post('/users', { username, role: 'developer', expiresAt }).expect(201);
      system.passTime(HOUR_MS);
      // The record is what a change writes last.
      await refuseRecords(system);
      await expect(system.runJob('user.sweep', {})).rejects.toThrow();
      await allowRecords(system);
      expect(await stored(username)).toEqual({ disabled: 0, events: 0, deliveries: 0, records: 0 });
      await system.runJob('user.sweep', {});
      expect(await stored(username)).toEqual({ disabled: 1, events: 1, deliveries: 1, records: 1 });
    });

    test('of a suspicious request is told at once, and those that follow within a minute are told as a count', async () => {
      const forged = () => system.stranger.withToken('forged').get('/vaults').expect(401);
      for (let i = 0; i < 5; i += 1) await forged();
      await deliver();
      expect(receiver.got.map(({ data }) => data)).toEqual([
        {
          rule: 'token_malformed',
          count: 1,
          action: 'vault.list',
          actor: { type: 'anonymous', id: 'anonymous' },
          ip: '127.0.0.1',
        },
      ]);
      await system.stopService('api');
      await system.startService('api');
      await deliver();
      expect(receiver.got.map(({ data }) => data['count'])).toEqual([1, 4]);
    });
  });

  describe('a receiver that fails', () => {
    test('gets the same webhook-id again, after longer and longer waits, with a new signature', async () => {
      receiver.answer = 500;
      await tell();
      await deliver();
      expect(await only()).toMatchObject({ state: 'waiting', attempts: 1, lastFailure: 'status-500' });
      await deliver();
      expect(receiver.got).toHaveLength(1);
      for (const wait of [5 * SECOND_MS, 30 * SECOND_MS, 2 * MINUTE_MS, 10 * MINUTE_MS]) {
        system.passTime(wait);
        await deliver();
      }
      receiver.answer = 204;
      system.passTime(30 * MINUTE_MS);
      await deliver();
      expect(receiver.got).toHaveLength(6);
      expect(new Set(receiver.got.map(({ id }) => id)).size).toBe(1);
      expect(receiver.got.every(({ signed }) => signed)).toBe(true);
      expect(new Set(receiver.got.map(({ timestampSeconds }) => timestampSeconds)).size).toBe(6);
      const delivery = await only();
      expect(delivery).toMatchObject({ state: 'delivered', attempts: 6 });
      expect(delivery).not.toHaveProperty('lastFailure');
      expect((await recordsOf(delivery.id)).map(({ action }) => action)).toEqual(['webhook.deliver']);
    });

    test('for a day is given up, which is recorded, and an admin has it sent again', async () => {
      receiver.answer = 503;
      await tell();
      for (let passed = 0; passed < DAY_MS; passed += 4 * HOUR_MS) {
        await deliver();
        expect((await only()).state).toBe('waiting');
        system.passTime(4 * HOUR_MS);
      }
      await deliver();
      const [dead] = await deliveries('?state=dead');
      expect(dead).toMatchObject({ state: 'dead', lastFailure: 'status-503', endedAt: expect.any(String) });
      expect(dead).not.toHaveProperty('nextAttemptAt');
      const attempts = receiver.got.length;
      system.passTime(4 * HOUR_MS);
      await deliver();
      expect(receiver.got).toHaveLength(attempts);

      receiver.answer = 200;
      const retried = await (await system.as('admin')).post(`/webhooks/deliveries/${dead!.id}:retry`).expect(200);
      expect(retried.body).toMatchObject({ id: dead!.id, state: 'waiting', attempts: 0 });
      await deliver();
      expect(receiver.got.at(-1)!.id).toBe(dead!.id);
      expect(await only()).toMatchObject({ state: 'delivered', attempts: 1 });
      const reason = 'security.suspicious to main';
      expect(await recordsOf(dead!.id)).toEqual([
        { action: 'webhook.deliver', decision: 'allow', rule: 'event', reason },
        { action: 'webhook.giveUp', decision: 'deny', rule: 'delivery-abandoned', reason: `${reason}: status-503` },
        { action: 'webhook.retry', decision: 'allow', rule: 'role:admin', reason },
        { action: 'webhook.deliver', decision: 'allow', rule: 'event', reason },
      ]);
    });

    test('with 410 is given up at once', async () => {
      receiver.answer = 410;
      await tell();
      await deliver();
      const delivery = await only();
      expect(delivery).toMatchObject({ state: 'dead', attempts: 1, lastFailure: 'status-410' });
      expect((await recordsOf(delivery.id)).at(-1)).toMatchObject({
        action: 'webhook.giveUp',
        rule: 'delivery-refused',
      });
    });

    test('by a redirect is not followed to where it leads', async () => {
      const elsewhere = await startReceiver();
      receiver.answer = 307;
      receiver.headers = { location: elsewhere.url };
      await tell();
      await deliver();
      expect(await only()).toMatchObject({ state: 'waiting', lastFailure: 'status-307' });
      expect(elsewhere.got).toEqual([]);
      await elsewhere[Symbol.asyncDispose]();
    });

    test.each([
      ['loopback', '127.0.0.1'],
      ['a name of loopback', 'localhost'],
      ['loopback inside of IPv6', '[::ffff:127.0.0.1]'],
      ['the metadata of a cloud', '169.254.169.254'],
      ['a private network', '10.0.0.1'],
    ])('because it is at %s is not connected to, unless the operator allows it', async (_what, host) => {
      const url = receiver.url.replace('127.0.0.1', host);
      await configure(system, [{ name: 'main', url, events: ['security.suspicious'], allowNetworks: [] }]);
      await tell();
      await deliver();
      expect(await only()).toMatchObject({ state: 'waiting', lastFailure: 'address-refused' });
      expect(receiver.got).toEqual([]);
    });

    test('by not answering holds up no other receiver', async () => {
      const fast = await startReceiver();
      receiver.answer = 'never';
      await configure(system, [
        { name: 'slow', url: receiver.url, events: ['security.suspicious'] },
        { name: 'fast', url: fast.url, events: ['security.suspicious'] },
      ]);
      await tell(3);
      const delivering = deliver();
      await receiver.reached(1);
      await fast.reached(3);
      // Told while the slow receiver is still being waited for.
      await tell();
      await fast.reached(4);
      expect(receiver.got).toHaveLength(1);
      receiver.answer = 204;
      await receiver[Symbol.asyncDispose]();
      receiver = await startReceiver();
      await delivering;
      await fast[Symbol.asyncDispose]();
    });
  });

  describe('a process', () => {
    test('that is killed during an attempt leaves it to another one, a minute later', async () => {
      await tell();
      const { id } = await only();
      // As the claim of a process that was killed before it had an answer.
      const claimedUntil = system.now().getTime() + MINUTE_MS;
      await query(system, 'update webhook_delivery set attempts = 1, next_attempt_at = $1', [claimedUntil]);
      await deliver();
      expect(receiver.got).toEqual([]);
      system.passTime(MINUTE_MS);
      await deliver();
      expect(receiver.got.map((got) => got.id)).toEqual([id]);
      expect(await only()).toMatchObject({ state: 'delivered', attempts: 2 });
    });

    test('shares the deliveries with others: each is sent once', async () => {
      await tell(20);
      await Promise.all([deliver(), deliver(), deliver()]);
      expect(receiver.got).toHaveLength(20);
      expect(new Set(receiver.got.map(({ id }) => id)).size).toBe(20);
      expect((await deliveries('?state=delivered')).map(({ attempts }) => attempts)).toEqual(Array(20).fill(1));
    });

    test('sends nothing while the audit log does not answer', async () => {
      await tell();
      await system.stopService('audit');
      await expect(deliver()).rejects.toMatchObject({ code: 'unavailable' });
      expect(receiver.got).toEqual([]);
      await system.startService('audit');
      system.passTime(MINUTE_MS);
      await expectEventually(deliver);
      expect(receiver.got).toHaveLength(1);
    });
  });

  describe('of what has ended', () => {
    test('delivered ones are kept for 7 days and dead ones for 30', async () => {
      await tell();
      await deliver();
      receiver.answer = 410;
      await tell();
      await deliver();
      system.passTime(7 * DAY_MS + 1);
      await system.runJob('webhook.sweep', {});
      expect((await deliveries()).map(({ state }) => state)).toEqual(['dead']);
      system.passTime(23 * DAY_MS);
      await system.runJob('webhook.sweep', {});
      expect(await deliveries()).toEqual([]);
    });

    test('what waits for a receiver that is configured no more is given up after its day', async () => {
      await tell();
      await configure(system, []);
      system.passTime(DAY_MS - HOUR_MS);
      await system.runJob('webhook.sweep', {});
      expect(await only()).toMatchObject({ state: 'waiting' });
      system.passTime(HOUR_MS);
      await system.runJob('webhook.sweep', {});
      const dead = await only();
      expect(dead).toMatchObject({ state: 'dead', lastFailure: 'not-configured', attempts: 0 });
      expect((await recordsOf(dead.id)).map(({ rule }) => rule)).toEqual(['delivery-abandoned']);
    });
  });

  describe('the list', () => {
    test('comes page by page, the newest first, by state, and each look is recorded', async () => {
      await tell(5);
      const all = (await deliveries()).map(({ id }) => id);
      expect(all).toEqual(all.toSorted().toReversed());
      const { body } = await admin.get('/webhooks/deliveries?limit=2&state=waiting').expect(200);
      expect(body.items.map(({ id }: Delivery) => id)).toEqual(all.slice(0, 2));
      const rest = await deliveries(`?limit=500&state=waiting&cursor=${body.nextCursor as string}`);
      expect(rest.map(({ id }) => id)).toEqual(all.slice(2));
      const [record] = await admin.auditEntries({ action: 'webhook.list' });
      expect(record!.event).toMatchObject({ decision: 'allow', rule: 'role:admin', resource: { count: 3 } });
    });

    test('is for admins, and only a dead delivery is sent again', async () => {
      await tell();
      const { id } = await only();
      const retry = `/webhooks/deliveries/${id}:retry`;
      for (const username of ['alice', 'carla'] as const) {
        const person = await system.as(username);
        await person.get('/webhooks/deliveries').expect(403);
        await person.post(retry).expect(403);
      }
      const waits = await admin.post(retry).expect(409);
      expect(waits.body).toMatchObject({ code: 'conflict' });
      const [record] = await admin.auditEntries({ action: 'webhook.retry', decision: 'deny' });
      expect(record!.event).toMatchObject({ rule: 'not-dead', resource: { name: id } });
      await admin.post('/webhooks/deliveries/01900000-0000-7000-8000-000000000000:retry').expect(404);
    });
  });
});

/** Has the database refuse each record, as if it failed at that moment. */
async function refuseRecords(system: TestSystem): Promise<void> {
  if (system.profile === 'mini') {
    await query(
      system,
      `create trigger refuse_records before insert on outbox begin select raise(abort, 'refused'); end`,
    );
    return;
  }
  await query(
    system,
    `create function refuse_records() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$`,
  );
  await query(
    system,
    'create trigger refuse_records before insert on outbox for each row execute function refuse_records()',
  );
}

async function allowRecords(system: TestSystem): Promise<void> {
  await query(system, `drop trigger refuse_records${system.profile === 'mini' ? '' : ' on outbox'}`);
  if (system.profile === 'full') await query(system, 'drop function refuse_records()');
}
