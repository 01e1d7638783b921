import { followSeal, seal, unseal } from '@cardea/contracts/seal-api';
import { unwrapDeks, wrapDeks } from '@cardea/contracts/kek-api';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { inEachProfile, useSystem } from '@cardea/testkit/use-system';
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { PASSWORD, profiles } from '@cardea/testkit/system';
import { callAs, expectEventually } from '../access/probes.ts';
import { createUser, signIn, turnOnTotp } from '../identity/identity.ts';
import { send, signed } from '../webhooks/sender.ts';

const operator = { name: 'operator', peer: 'kek-service' } as const;
const apiService = { name: 'api-service', peer: 'kek-service' } as const;

interface Shares {
  id: string;
  shareTexts: string[];
}

inEachProfile((system, { admin, alice }) => {
  let shares: Shares;

  const close = () => callAs(system, operator, (client) => client.call(seal, { body: {} }));
  const give = (share: string) => callAs(system, operator, (client) => client.call(unseal, { body: { share } }));

  async function open(): Promise<void> {
    for (const share of shares.shareTexts.slice(0, 2)) await give(share);
  }

  beforeAll(async () => {
    await admin.createVault('payments');
    await admin.putSecret('payments', 's', 'v');
  });

  test('an admin adds a seal by shares, sees them once, and both services have a record of it', async () => {
    const { body } = await admin.post('/seals', { type: 'shamir', shares: 3, threshold: 2 }).expect(201);
    shares = body as Shares;
    expect(shares.shareTexts).toHaveLength(3);
    const listed = await admin.get('/seals').expect(200);
    expect(listed.body.items).toMatchObject([
      { type: 'file' },
      { id: shares.id, type: 'shamir', shares: 3, threshold: 2 },
    ]);
    expect(JSON.stringify(listed.body)).not.toContain('shareTexts');

    const entries = await admin.auditEntries({ action: 'seal.add' });
    const resource = { name: shares.id };
    expect(entries.map(({ peer, event }) => [peer, event])).toMatchObject([
      ['api-service', { actor: { name: 'admin' }, decision: 'allow', rule: 'role:admin', reason: 'shamir', resource }],
      ['kek-service', { actor: { id: 'api-service' }, decision: 'allow', reason: 'shamir', resource }],
    ]);
    const everything = JSON.stringify(await admin.auditEntries());
    for (const share of shares.shareTexts) expect(everything).not.toContain(share.split('-')[4]);
  });

  test('a sealed kek-service has the DEKs in the cache forgotten at once: a vault in use answers 503 too', async () => {
    expect(await admin.readSecret('payments', 's')).toBe('v');
    await close();
    await expectEventually(async () => {
      const answer = await admin.get('/vaults/payments/secrets/s').expect(503);
      expect(answer.body.code).toBe('sealed');
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    });
    await admin.put('/vaults/payments/secrets/s', { value: 'w' }).expect(503);
    await admin.post('/vaults', { name: 'another' }).expect(503);
    await admin.post('/seals', { type: 'shamir', shares: 2, threshold: 2 }).expect(503);
    await open();
    expect(await admin.readSecret('payments', 's')).toBe('v');
  });

  test('while kek-service is sealed, a right and a wrong password, with and without TOTP, and no user get one answer', async () => {
    await createUser(system, { username: 'twofold', password: PASSWORD });
    const { person } = await signIn(system, { username: 'twofold' });
    await turnOnTotp(system, person);
    await close();
    await expectEventually(async () => void (await admin.get('/vaults/payments/secrets/s').expect(503)));
    const answers = new Set<string>();
    for (const username of ['twofold', 'alice', 'nobody-at-all']) {
      for (const password of [PASSWORD, 'a wrong password']) {
        const { status, body } = await system.stranger.post('/auth/login', { username, password, otp: '123456' });
        answers.add(`${status} ${body.code} ${body.detail}`);
      }
    }
    expect([...answers]).toEqual([expect.stringMatching(/^503 sealed /)]);
    await open();
    await signIn(system, { username: 'alice' });
  });

  test('while kek-service is sealed, a webhook gets one answer, whether there is a secret or not', async () => {
    const { body: made } = await admin.post('/webhooks/kek-rotation/secrets').expect(201);
    await close();
    await expectEventually(async () => void (await admin.get('/vaults/payments/secrets/s').expect(503)));
    const sendForged = async () => {
      const request = { ...signed(system, { secret: made.secret as string }), body: '{"forged":true}' };
      const { status, body } = await send(system, request);
      return `${status} ${(JSON.parse(body) as { code: string }).code}`;
    };
    const withSecret = await sendForged();
    await admin.delete(`/webhooks/kek-rotation/secrets/${made.id as string}`).expect(204);
    expect([withSecret, await sendForged()]).toEqual(['503 sealed', '503 sealed']);
    await open();
    expect(await sendForged()).toBe('401 unauthenticated');
  });

  test('a kek-service that nothing is heard of for 5 s counts as sealed', async () => {
    expect(await admin.readSecret('payments', 's')).toBe('v');
    await system.stopService('kek');
    await expectEventually(async () => {
      const { body } = await admin.get('/vaults/payments/secrets/s').expect(503);
      expect(body.code).toBe('unavailable');
    });
    await system.startService('kek');
    await expectEventually(async () => {
      expect(await admin.readSecret('payments', 's')).toBe('v');
    });
  });

  test('an admin removes a seal once another one is proven, and not before', async () => {
    const listed = await admin.get('/seals').expect(200);
    const [file] = listed.body.items as { id: string }[];
    await admin.delete(`/seals/${file!.id}`).expect(409);
    await open();
    await admin.delete(`/seals/${file!.id}`).expect(204);
    await admin.delete(`/seals/${file!.id}`).expect(404);
    const { body } = await admin.delete(`/seals/${shares.id}`).expect(409);
    expect(body.detail).toContain('keeps one seal');
    const entries = await admin.auditEntries({ action: 'seal.remove' });
    expect(entries.filter(({ event }) => event.decision === 'allow').map(({ peer }) => peer)).toEqual([
      'api-service',
      'kek-service',
    ]);
    const removals = entries.filter(({ event }) => event.decision === 'allow').map(({ event }) => event.changes);
    expect(removals).toEqual([{ type: { from: 'file' } }, { type: { from: 'file' } }]);
    expect(await admin.readSecret('payments', 's')).toBe('v');
    // The system as the other tests expect it.
    await admin.post('/seals', { type: 'file' }).expect(201);
  });

  test('nobody but an admin sees or changes the seals', async () => {
    await alice.get('/seals').expect(403);
    await alice.post('/seals', { type: 'file' }).expect(403);
    await alice.delete(`/seals/${shares.id}`).expect(403);
    await alice.post('/seals:unfreeze', { reason: 'because I say so' }).expect(403);
  });
});

describe('a thief of api-service’s certificate', () => {
  const VAULTS_MAX = 20;
  // In one profile: kek-service, which has no database, keeps this budget alone.
  const [system, { admin }] = useSystem('mini', { CARDEA_UNWRAP_VAULTS_PER_MINUTE: String(VAULTS_MAX) });

  afterEach(() => system.passTime(MINUTE_MS));

  test('who unwraps all vaults gets at most N of them, before and after a restart, until an admin says otherwise', async () => {
    const stolen = await wrapMany(60);
    const taken = new Set<string>();
    const takeAll = async () => {
      for (const item of stolen) {
        const body = { items: [item] };
        const released = await callAs(system, apiService, (client) => client.call(unwrapDeks, { body })).catch(
          () => undefined,
        );
        if (released) taken.add(item.vaultId);
      }
    };
    await takeAll();
    expect(taken.size).toBeLessThanOrEqual(VAULTS_MAX);
    expect(taken.size).toBeGreaterThan(VAULTS_MAX / 2);
    const got = taken.size;
    system.passTime(5 * MINUTE_MS);
    await takeAll();
    await system.stopService('kek');
    await system.startService('kek');
    await takeAll();
    expect(taken.size).toBe(got);

    await system.as('admin');
    const [freeze, ...more] = await admin.auditEntries({ action: 'unwrap.freeze' });
    expect(more).toEqual([]);
    expect(freeze).toMatchObject({
      peer: 'kek-service',
      event: {
        actor: { id: 'api-service' },
        decision: 'deny',
        resource: { name: 'api-service' },
        rule: 'unwrap-budget',
        suspicious: 'unwrap_budget',
      },
    });
    expect(await kekMetric('cardea_unwraps_frozen{peer="api-service"')).toBe(1);
    const unwraps = await admin.auditEntries({ action: 'dek.unwrap', decision: 'allow', limit: '500' });
    const recorded = new Set(unwraps.map(({ event }) => event.resource?.vaultId));
    for (const vaultId of taken) expect(recorded).toContain(vaultId);

    // The thief may lift the freeze as an admin may, and then not again for an hour.
    await admin.post('/seals:unfreeze', { reason: 'looked into it' }).expect(204);
    await admin.post('/seals:unfreeze', { reason: 'looked into it' }).expect(409);
    await takeAll();
    expect(taken.size).toBeLessThanOrEqual(2 * VAULTS_MAX);
    const { body } = await admin.post('/seals:unfreeze', { reason: 'looked into it' }).expect(429);
    expect(body.detail).toContain('an operator may');
    expect(await admin.auditEntries({ action: 'unwrap.unfreeze', decision: 'allow' })).toMatchObject([
      { peer: 'api-service', event: { actor: { name: 'admin' }, reason: 'looked into it', rule: 'role:admin' } },
      { peer: 'kek-service', event: { actor: { id: 'api-service' }, reason: 'looked into it' } },
    ]);
  });

  async function wrapMany(count: number) {
    const refs = Array.from({ length: count }, () => ({ vaultId: uuidv7(0), dekVersion: 1 }));
    const items = refs.map((ref) => ({ ...ref, dekBase64: Buffer.from(randomKey()).toString('base64') }));
    const { items: wrapped } = await callAs(system, apiService, (client) => client.call(wrapDeks, { body: { items } }));
    return refs.map((ref, at) => ({ ...ref, ...wrapped[at]! }));
  }

  async function kekMetric(name: string): Promise<number> {
    const text = await (await fetch(`${system.kekOpsUrl}/metrics`)).text();
    const line = text.split('\n').find((metric) => metric.startsWith(name));
    return Number(line?.split(' ').at(-1) ?? 0);
  }
});

describe.each(profiles)('in profile %s, api-service', (profile) => {
  const VAULTS_MAX = 20;
  const [system, { admin }] = useSystem(profile, { CARDEA_UNWRAP_VAULTS_PER_MINUTE: String(VAULTS_MAX) });

  test('itself keeps below its budget: more vaults than that are told to try again, and nothing is frozen', async () => {
    // One caller uses as many as they leave to others.
    for (let i = 0; i < 2 * VAULTS_MAX; i += 1) await admin.createVault(`vault-${i}`);
    const statuses: number[] = [];
    for (let i = 0; i < 2 * VAULTS_MAX; i += 1) {
      const { status, headers } = await admin.put(`/vaults/vault-${i}/secrets/s`, { value: 'v' });
      // 429 if the caller has used their own share of the budget, 503 if all have used it up.
      if (status !== 201)
        expect([[429, 503].includes(status), Number(headers['retry-after']) > 0]).toEqual([true, true]);
      statuses.push(status);
    }
    expect(statuses.filter((status) => status === 201).length).toBeGreaterThan(VAULTS_MAX / 4);
    expect(statuses.filter((status) => status !== 201).length).toBeGreaterThan(0);
    expect(await admin.auditEntries({ action: 'unwrap.freeze' })).toEqual([]);
    system.passTime(MINUTE_MS);
    await admin.put('/vaults/vault-39/secrets/s', { value: 'v' }).expect(201);
  });
});

describe('the answer without an end', () => {
  // In one profile: only kek-service answers.
  const [system] = useSystem('mini');

  test('says at once what is so, and then what changes', async () => {
    const lines: string[] = [];
    await callAs(system, apiService, async (client) => {
      const body = await client.stream(followSeal.path, {});
      void body.setEncoding('utf8').on('data', (text: string) => lines.push(...text.trim().split('\n')));
      body.on('error', () => undefined);
      await heard(lines, false);
      await callAs(system, operator, (asOperator) => asOperator.call(seal, { body: {} }));
      await heard(lines, true);
    });
  });
});

function heard(lines: string[], sealed: boolean): Promise<void> {
  return expectEventually(async () => {
    expect(JSON.parse(lines.at(-1) ?? '{}')).toMatchObject({ sealed });
  });
}
