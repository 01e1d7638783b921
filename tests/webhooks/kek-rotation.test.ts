import type { AuditEvent } from '@cardea/contracts/audit-event';
import { signWebhook } from '@cardea/crypto/webhook-signature';
import { contentsOf } from '@cardea/testkit/contents';
import { uuidv7 } from '@cardea/crypto/ids';
import type { Person } from '@cardea/testkit/person';
import type { RawAnswer } from '@cardea/testkit/raw-http';
import { inEachProfile } from '@cardea/testkit/use-system';
import { DAY_MS, MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { countStatuses, recordsOf } from '../identity/identity.ts';
import { query } from '../secrets/ground.ts';
import { configure, startReceiver } from './receiver.ts';
import { send, signed, signedGet } from './sender.ts';
import type { Signed } from './sender.ts';

const SECRETS = '/webhooks/kek-rotation/secrets';
const LONG_AGO = 301;

inEachProfile((system) => {
  let admin: Person;
  let secret: string;
  let secretId: string;

  beforeEach(async () => {
    await query(system, 'delete from webhook_secret');
    await query(system, 'delete from webhook_message');
    await query(system, 'delete from rotation');
    admin = await system.as('admin');
    ({ secret, secretId } = await makeSecret());
  });

  async function makeSecret(): Promise<{ secret: string; secretId: string }> {
    const { body } = await (await system.as('admin')).post(SECRETS).expect(201);
    return { secret: body.secret as string, secretId: body.id as string };
  }

  const secondsSince = (began: number) => (system.steadyMs() - began) / SECOND_MS;
  const nowSeconds = () => Math.floor(system.now().getTime() / SECOND_MS);
  const rotations = () => query<{ id: string; kind: string }>(system, 'select id, kind from rotation');
  const messages = () => query<{ id: string }>(system, 'select id from webhook_message');

  async function accepted(request: Signed): Promise<string> {
    const answer = await send(system, request);
    expect([answer.status, answer.body]).toEqual([202, expect.any(String)]);
    return idOf(answer);
  }

  const typed = (type: string | undefined) => withHeader(signed(system, { secret }), 'content-type', type);

  /** The newest position in the log that is not of a read of the log. */
  async function head(): Promise<number> {
    const [newest] = await (await system.as('admin')).auditEntries();
    return newest!.seq;
  }

  /** As the job ends a rotation. */
  async function finishRotation(): Promise<void> {
    await query(system, `update rotation set state = 'finished', finished_at = $1`, [system.now().getTime()]);
  }

  async function recordOf(answer: RawAnswer): Promise<Partial<AuditEvent>> {
    const records = await recordsOf(system, answer);
    expect(records).toHaveLength(1);
    return records[0]!;
  }

  const byWebhook = () => ({
    actor: { id: 'kek-rotation-webhook', type: 'service', credential: secretId },
    source: expect.objectContaining({ ip: '127.0.0.1' }) as unknown,
  });

  describe('a signed webhook', () => {
    test('starts one KEK rotation, says where to follow it, and is recorded with the secret that signed it', async () => {
      const request = signed(system, { secret });
      const answer = await send(system, request);
      expect(answer.status).toBe(202);
      const id = idOf(answer);
      expect(JSON.parse(answer.body)).toEqual({ id });
      expect(answer.headers['location']).toBe(`/api/v1/webhooks/kek-rotation/rotations/${id}`);
      expect(await rotations()).toEqual([{ id, kind: 'kek' }]);
      expect(await messages()).toEqual([{ id: request.headers['webhook-id'] }]);
      const facts = { ...byWebhook(), decision: 'allow', rule: 'webhook-signed', resource: { name: id } };
      const reason = `webhook-id ${request.headers['webhook-id']}`;
      expect(await recordsOf(system, answer)).toEqual([
        expect.objectContaining({ ...facts, action: 'webhook.receive', reason }),
        expect.objectContaining({ ...facts, action: 'rotation.start', reason: 'kek' }),
      ]);
    });

    test('that is replayed starts nothing again and gets the same answer, also once another rotation could start', async () => {
      const request = signed(system, { secret });
      const id = await accepted(request);
      const again = await send(system, request);
      expect([again.status, idOf(again)]).toEqual([202, id]);
      expect(await recordOf(again)).toMatchObject({ ...byWebhook(), decision: 'allow', rule: 'webhook-repeat' });
      await finishRotation();
      system.passTime(5 * MINUTE_MS - 2 * SECOND_MS);
      expect(await accepted(request)).toBe(id);
      system.passTime(3 * SECOND_MS);
      // The sender repeats its message with a new timestamp, because the answer was lost.
      const repeated = signed(system, { secret, id: request.headers['webhook-id']! });
      expect(await accepted(repeated)).toBe(id);
      expect(await rotations()).toHaveLength(1);
    });

    test('that comes while a rotation is open, or within 5 minutes after one began, gets its id', async () => {
      const id = await accepted(signed(system, { secret }));
      const later = await send(system, signed(system, { secret }));
      expect([later.status, idOf(later)]).toEqual([202, id]);
      expect(await recordOf(later)).toMatchObject({ decision: 'allow', rule: 'rotation-open', resource: { name: id } });
      await finishRotation();
      system.passTime(5 * MINUTE_MS - SECOND_MS);
      expect(await accepted(signed(system, { secret }))).toBe(id);
      system.passTime(SECOND_MS);
      const next = await accepted(signed(system, { secret }));
      expect(next).not.toBe(id);
      expect(await rotations()).toHaveLength(2);
    });

    test.each([
      ['whatever its body says', { body: '{"kind":"dek","version":1,"key":"AAAA"}', away: 0 }],
      ['with a body that is not JSON', { body: 'not json', away: 0 }],
      ['with a timestamp 298 seconds ago', { body: '{}', away: -298 }],
      ['with a timestamp 299 seconds ahead', { body: '{}', away: 299 }],
    ])('starts a KEK rotation %s', async (_what, { body, away }) => {
      const timestampSeconds = nowSeconds() + away;
      await accepted(signed(system, { secret, timestampSeconds, body }));
      expect((await rotations()).map(({ kind }) => kind)).toEqual(['kek']);
    });
  });

  describe('a webhook that is refused', () => {
    const attacks: [string, string, () => Signed | Promise<Signed>][] = [
      [
        'with one byte of its body changed',
        'webhook-forged',
        () => ({ ...signed(system, { secret }), body: '{"reason":"a tesu"}' }),
      ],
      ['with another id', 'webhook-forged', () => withHeader(signed(system, { secret }), 'webhook-id', 'msg_another')],
      [
        'with another timestamp',
        'webhook-forged',
        () => withHeader(signed(system, { secret }), 'webhook-timestamp', String(nowSeconds() + 1)),
      ],
      [
        'signed by a removed secret',
        'webhook-forged',
        async () => {
          const other = await makeSecret();
          await (await system.as('admin')).delete(`${SECRETS}/${other.secretId}`).expect(204);
          return signed(system, { secret: other.secret });
        },
      ],
      [
        'while there is no secret',
        'no-webhook-secret',
        async () => {
          await (await system.as('admin')).delete(`${SECRETS}/${secretId}`).expect(204);
          return signed(system, { secret });
        },
      ],
      [
        'with an old timestamp',
        'webhook-time',
        () => signed(system, { secret, timestampSeconds: nowSeconds() - LONG_AGO }),
      ],
      [
        'with a timestamp of the future',
        'webhook-time',
        () => signed(system, { secret, timestampSeconds: nowSeconds() + LONG_AGO }),
      ],
      [
        'without a signature',
        'webhook-malformed',
        () => withHeader(signed(system, { secret }), 'webhook-signature', undefined),
      ],
      ['without an id', 'webhook-malformed', () => withHeader(signed(system, { secret }), 'webhook-id', undefined)],
      [
        'without a timestamp',
        'webhook-malformed',
        () => withHeader(signed(system, { secret }), 'webhook-timestamp', undefined),
      ],
      ['with a dot in its id', 'webhook-malformed', () => signed(system, { secret, id: 'msg.1' })],
      [
        'with text after its timestamp',
        'webhook-malformed',
        () => withHeader(signed(system, { secret }), 'webhook-timestamp', `${nowSeconds()}x`),
      ],
      [
        'without a body',
        'webhook-malformed',
        () => withHeader(signed(system, { secret, body: '' }), 'content-type', 'application/json'),
      ],
      [
        'with the signature of a request that follows',
        'webhook-malformed',
        () => {
          const { headers } = signedGet(system, secretId, { secret });
          return {
            ...signed(system, { secret }),
            headers: { ...headers, 'content-type': 'application/json' },
            body: '',
          };
        },
      ],
    ];

    test('gets the same answer whatever is wrong, starts nothing, and its record says what it was', async () => {
      const before = await contentsOf(system, ['rotation', 'webhook_message']);
      const answers: RawAnswer[] = [];
      for (const [, , attack] of attacks) {
        // The attacks change the secrets.
        await query(system, 'delete from webhook_secret');
        ({ secret, secretId } = await makeSecret());
        answers.push(await send(system, await attack()));
        system.passTime(SECOND_MS);
      }
      expect(await contentsOf(system, ['rotation', 'webhook_message'])).toEqual(before);
      expect(new Set(answers.map(withoutRequestId)).size).toBe(1);
      expect(answers[0]!.status).toBe(401);
      const records = await Promise.all(answers.map(recordOf));
      expect(records.map(({ rule }) => rule)).toEqual(attacks.map(([, rule]) => rule));
      for (const record of records) {
        const suspicious = record.rule === 'webhook-time' ? 'webhook_replayed' : 'webhook_forged';
        expect(record).toMatchObject({
          action: 'webhook.receive',
          decision: 'deny',
          reason: 'unauthenticated',
          suspicious,
        });
        expect(record.actor).toEqual({ id: 'anonymous', type: 'anonymous' });
      }
    });

    // Decoded with replacement characters, both bodies would be the same text.
    test('for bytes that are not UTF-8 is not taken for another body', async () => {
      const bytes = Buffer.from([0x22, 0xff, 0x22]);
      const { headers, ...request } = signed(system, { secret, body: bytes.toString('utf8') });
      const answer = await send(system, { ...request, headers, body: bytes });
      expect(answer.status).toBe(401);
      expect(await recordOf(answer)).toMatchObject({ rule: 'webhook-malformed' });
      expect(await rotations()).toEqual([]);
    });

    test.each([
      ['a huge body', 413, 'too_large', () => signed(system, { secret, body: JSON.stringify('a'.repeat(8_192)) })],
      ['a form', 415, 'unsupported_media_type', () => typed('application/x-www-form-urlencoded')],
      ['plain text', 415, 'unsupported_media_type', () => typed('text/plain')],
      ['no content type', 415, 'unsupported_media_type', () => typed(undefined)],
    ] as const)('for %s is answered %d', async (_what, status, code, attack) => {
      const answer = await send(system, attack());
      expect([answer.status, JSON.parse(answer.body)]).toEqual([status, expect.objectContaining({ code })]);
      expect(await recordOf(answer)).toMatchObject({ action: 'webhook.receive', decision: 'deny', reason: code });
      expect(await rotations()).toEqual([]);
      system.passTime(SECOND_MS);
    });
  });

  describe('a thousand, as fast as an address may send,', () => {
    const MANY = 1_000;
    // Less than half of what an address may have under way: a place is free again a moment after its answer.
    const UNDER_WAY = 30;

    /** Sends all, so many at a time, and returns what was answered and which rotations were named. */
    async function flood(request: () => Signed): Promise<{ statuses: Record<number, number>; ids: Set<string> }> {
      const answers: RawAnswer[] = [];
      let left = MANY;
      const lane = async () => {
        while (left-- > 0) answers.push(await send(system, request()));
      };
      await Promise.all(Array.from({ length: UNDER_WAY }, lane));
      return {
        statuses: countStatuses(answers),
        ids: new Set(answers.filter(({ status }) => status === 202).map(idOf)),
      };
    }

    async function expectRecorded(since: number): Promise<void> {
      await expectEventually(async () => {
        let recorded = 0;
        for await (const { seq, event } of (await system.as('admin')).newestEntries({ action: 'webhook.receive' })) {
          if (seq <= since) break;
          recorded += event.resource?.count ?? 1;
        }
        expect(recorded).toBe(MANY);
      });
    }

    test('of different signed messages start one rotation, and each is recorded', async () => {
      const since = await head();
      const began = system.steadyMs();
      const { statuses, ids } = await flood(() => signed(system, { secret }));
      expect(ids.size).toBe(1);
      expect(await rotations()).toHaveLength(1);
      expect((statuses[202] ?? 0) + (statuses[429] ?? 0)).toBe(MANY);
      // 120 at once, and then two a second.
      expect(statuses[202]).toBeGreaterThanOrEqual(120);
      expect(statuses[202]).toBeLessThanOrEqual(120 + 2 * secondsSince(began));
      expect(await messages()).toHaveLength(statuses[202]!);
      await expectRecorded(since);
    });

    test('of one signed message start one rotation, and leave the sender enough for others', async () => {
      const since = await head();
      const request = signed(system, { secret });
      const began = system.steadyMs();
      const { statuses, ids } = await flood(() => request);
      expect(ids.size).toBe(1);
      expect(await rotations()).toHaveLength(1);
      expect(await messages()).toHaveLength(1);
      expect((statuses[202] ?? 0) + (statuses[429] ?? 0)).toBe(MANY);
      // Ten at once, and then one in ten seconds.
      expect(statuses[202]).toBeGreaterThanOrEqual(10);
      expect(statuses[202]).toBeLessThanOrEqual(10 + secondsSince(began) / 10);
      await expectRecorded(since);
      expect(await accepted(signed(system, { secret }))).toBe([...ids][0]);
    });

    test('of forged ones start nothing, fill no log, and hold up nobody', async () => {
      const alice = await system.as('alice');
      await alice.createVault(`calm-${system.profile}`);
      await alice.putSecret(`calm-${system.profile}`, 'db', 'value');
      const since = await head();
      const began = system.steadyMs();
      const forged = flood(() => ({ ...signed(system, { secret }), body: '{}' }));
      const read = await alice.readSecret(`calm-${system.profile}`, 'db');
      const id = await accepted(signed(system, { secret }));
      const { statuses } = await forged;
      expect(read).toBe('value');
      expect(statuses).toEqual({ 401: MANY });
      expect((await rotations()).map((rotation) => rotation.id)).toEqual([id]);
      await expectEventually(async () => {
        const records = await (await system.as('admin')).auditEntries({ action: 'webhook.receive', decision: 'deny' });
        const ours = records.filter(({ seq }) => seq > since).map(({ event }) => event.resource?.count ?? 1);
        expect(ours.reduce((sum, count) => sum + count, 0)).toBe(MANY);
        // One each second, and one for those that followed it.
        expect(ours.length).toBeLessThanOrEqual(2 * (secondsSince(began) + 1));
      });
    });
  });

  describe('secrets of the webhook', () => {
    test('are shown once and stored sealed', async () => {
      const key = secret.slice('whsec_'.length);
      expect(Buffer.from(key, 'base64')).toHaveLength(32);
      const { body, text } = await admin.get(SECRETS).expect(200);
      expect(body.items).toEqual([{ id: secretId, createdAt: expect.any(String) }]);
      expect(text).not.toContain(key);
      const rows = await contentsOf(system, ['webhook_secret', 'outbox']);
      expect(JSON.stringify(rows)).not.toContain(key);
      const [made] = await admin.auditEntries({ action: 'webhookSecret.create' });
      expect(made!.event).toMatchObject({ rule: 'role:admin', resource: { name: secretId }, dekVersion: 1 });
      expect(JSON.stringify(made)).not.toContain(key);
    });

    test('may be two at once, each of them signs, a third is refused, and a deleted one signs no more', async () => {
      const other = await makeSecret();
      const refused = await admin.post(SECRETS).expect(409);
      expect(refused.body).toMatchObject({ code: 'conflict' });
      const id = await accepted(signed(system, { secret }));
      expect(await accepted(signed(system, { secret: other.secret }))).toBe(id);
      const listed = await admin.get(SECRETS).expect(200);
      expect(listed.body.items.map((item: { lastUsedAt?: string }) => item.lastUsedAt)).toEqual([
        expect.any(String),
        expect.any(String),
      ]);
      await admin.delete(`${SECRETS}/${secretId}`).expect(204);
      expect((await send(system, signed(system, { secret }))).status).toBe(401);
      expect(await accepted(signed(system, { secret: other.secret }))).toBe(id);
      await admin.delete(`${SECRETS}/${secretId}`).expect(404);
      await makeSecret();
    });

    test('may sign one message together, as a sender does that changes from one to the other', async () => {
      const request = signed(system, { secret });
      const other = signWebhook(new Uint8Array(32), { id: 'x', timestampSeconds: 1, body: '' });
      request.headers['webhook-signature'] = `${other} ${request.headers['webhook-signature']}`;
      await accepted(request);
    });

    test('that are swapped in the database do not open, and nothing is started', async () => {
      const other = await makeSecret();
      await query(system, `update webhook_secret set id = 'swap' where id = $1`, [secretId]);
      await query(system, `update webhook_secret set id = $1 where id = $2`, [secretId, other.secretId]);
      await query(system, `update webhook_secret set id = $1 where id = 'swap'`, [other.secretId]);
      for (const one of [secret, other.secret]) {
        const answer = await send(system, signed(system, { secret: one }));
        expect(answer.status).toBe(500);
        expect(await recordOf(answer)).toMatchObject({ decision: 'deny', suspicious: 'integrity_failure' });
        system.passTime(SECOND_MS);
      }
      expect(await rotations()).toEqual([]);
    });

    test('are for admins', async () => {
      for (const username of ['alice', 'carla'] as const) {
        const person = await system.as(username);
        await person.get(SECRETS).expect(403);
        await person.post(SECRETS).expect(403);
        await person.delete(`${SECRETS}/${secretId}`).expect(403);
      }
    });
  });

  describe('the sender', () => {
    test('follows the rotation with the same secret, and is recorded', async () => {
      const id = await accepted(signed(system, { secret }));
      const followed = await send(system, signedGet(system, id, { secret }));
      expect([followed.status, JSON.parse(followed.body)]).toEqual([
        200,
        { id, state: 'running', total: 0, done: 0, failed: 0, startedAt: expect.any(String) },
      ]);
      expect(await recordOf(followed)).toMatchObject({
        ...byWebhook(),
        action: 'webhook.follow',
        rule: 'webhook-signed',
        resource: { name: id },
      });
    });

    test('sees the rotation finish, and a receiver is told of the new KEK', async () => {
      const receiver = await startReceiver();
      await configure(system, [{ name: 'rotations', url: receiver.url, events: ['kek.rotated'] }]);
      const id = await accepted(signed(system, { secret }));
      await system.runJob('rotation.run', { rotationId: id });
      const { body } = await send(system, signedGet(system, id, { secret }));
      const rotation = JSON.parse(body) as { state: string; total: number; done: number };
      expect(rotation).toMatchObject({ state: 'finished', failed: 0, finishedAt: expect.any(String) });
      expect(rotation.done).toBeGreaterThan(0);
      await system.runJob('webhook.deliver', {});
      const [{ kekVersion }] = (await query<{ kekVersion: number }>(
        system,
        `select kek_version as "kekVersion" from rotation`,
      )) as [{ kekVersion: number }];
      expect(receiver.got).toEqual([
        expect.objectContaining({ type: 'kek.rotated', data: { kekVersion }, signed: true }),
      ]);
      await receiver[Symbol.asyncDispose]();
    });

    test('follows no rotation that does not exist or is not of the KEK, and nothing without a signature', async () => {
      const id = await accepted(signed(system, { secret }));
      const unsigned = { ...signedGet(system, id, { secret }), headers: {} };
      const refused = await send(system, unsigned);
      expect(refused.status).toBe(401);
      expect(await recordOf(refused)).toMatchObject({ action: 'webhook.follow', rule: 'webhook-malformed' });
      // The signature of a message that started a rotation is over its body.
      const { headers } = signed(system, { secret });
      expect((await send(system, { ...unsigned, headers })).status).toBe(401);
      const none = await send(system, signedGet(system, secretId, { secret }));
      expect(none.status).toBe(404);
      expect(await recordOf(none)).toMatchObject({ ...byWebhook(), decision: 'deny', rule: 'no-such-rotation' });
      await query(system, `update rotation set kind = 'dek'`);
      expect((await send(system, signedGet(system, id, { secret }))).status).toBe(404);
    });
  });

  describe('what is missing', () => {
    test('without the audit log nothing is started, and nothing is checked', async () => {
      await system.stopService('audit');
      for (const request of [signed(system, { secret }), { ...signed(system, { secret }), body: '{}' }]) {
        const answer = await send(system, request);
        expect(answer.status).toBe(503);
        expect(answer.headers['retry-after']).toBeDefined();
      }
      await system.startService('audit');
      await query(system, 'delete from rotation');
      await query(system, 'delete from webhook_message');
      await expectEventually(async () => void (await accepted(signed(system, { secret }))));
    });

    test('without kek-service, and once DEKs are forgotten, no webhook is checked', async () => {
      await system.stopService('kek');
      system.vault.deks.clear();
      const answer = await send(system, signed(system, { secret }));
      expect(answer.status).toBe(503);
      expect(answer.headers['retry-after']).toBeDefined();
      expect(await rotations()).toEqual([]);
      await system.startService('kek');
      await expectEventually(async () => void (await accepted(signed(system, { secret }))));
    });

    test('without kek-service, a stranger does not learn from the answer whether there is a secret', async () => {
      await system.stopService('kek');
      const forged = () => ({ ...signed(system, { secret }), body: '{"reason":"another body"}' });
      const sendAll = async () => {
        system.vault.deks.clear();
        // Refusals of one second get one record.
        system.passTime(SECOND_MS);
        return [await send(system, forged()), await send(system, signedGet(system, uuidv7(0), { secret }))];
      };
      const withSecret = await sendAll();
      await query(system, 'delete from webhook_secret');
      const withoutSecret = await sendAll();
      await system.startService('kek');
      for (const answer of [...withSecret, ...withoutSecret]) {
        const { code } = JSON.parse(answer.body) as { code: string };
        expect([answer.status, code]).toEqual([503, 'unavailable']);
        expect(await recordOf(answer)).toMatchObject({ decision: 'deny', reason: 'unavailable' });
      }
      const [first, ...others] = [...withSecret, ...withoutSecret].map(withoutId);
      for (const other of others) expect(other).toEqual(first);
      await expectEventually(async () => {
        const { secret: another } = await makeSecret();
        await accepted(signed(system, { secret: another }));
      });
    });
  });

  test('ids of messages are forgotten after a day, when their messages have long been too old', async () => {
    const request = signed(system, { secret });
    await accepted(request);
    system.passTime(DAY_MS - SECOND_MS);
    await system.runJob('webhook.sweep', {});
    expect(await messages()).toHaveLength(1);
    system.passTime(2 * SECOND_MS);
    await system.runJob('webhook.sweep', {});
    expect(await messages()).toEqual([]);
    expect((await send(system, request)).status).toBe(401);
  });
});

const idOf = ({ body }: RawAnswer) => (JSON.parse(body) as { id: string }).id;

const withHeader = (request: Signed, name: string, value: string | undefined): Signed => ({
  ...request,
  headers: { ...request.headers, [name]: value },
});

/** All that an answer says but the id of its request and its time. */
function withoutRequestId({ status, headers, body }: RawAnswer): string {
  const requestId = headers['x-request-id'] ?? '';
  const rest = { ...headers, 'x-request-id': '', date: '', ratelimit: '' };
  return JSON.stringify([status, rest, body.replaceAll(requestId, '')]);
}

/** What an answer says, without the id of its request. */
function withoutId({ status, body }: RawAnswer) {
  const { requestId: _, ...rest } = JSON.parse(body) as { requestId: string };
  return { status, ...rest };
}
