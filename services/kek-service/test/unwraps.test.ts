import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unwrapDeks, wrapDeks } from '@cardea/contracts/kek-api';
import { sealStatus, unfreezeUnwraps } from '@cardea/contracts/seal-api';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startRecordingAuditService } from './recording-audit-service.ts';
import { startTestKek } from './test-kek.ts';
import type { TestKek } from './test-kek.ts';

type Item = { vaultId: string; dekVersion: number; wrappedDekBase64: string; kekVersion: number };

const reason = 'looked into it';
const lift = (as: 'operator' | 'api-service') =>
  kek.as(as).call(unfreezeUnwraps, { body: { peer: 'api-service', reason } });

let folder: string;
let audit: Awaited<ReturnType<typeof startRecordingAuditService>>;
let kek: TestKek;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-kek-'));
  await ensureCertificates(folder, new Date());
  audit = await startRecordingAuditService(folder);
  await start({ vaultsPerMinute: 10, unwrapsPerMinute: 50 });
  audit.events.length = 0;
});

afterEach(async () => {
  await kek.stop();
  await audit.drain(0);
  await rm(folder, { recursive: true, force: true });
});

describe('an unwrap', () => {
  test('is recorded for each DEK of its batch, by vault and versions and never by key', async () => {
    const items = await wrapMany(3);
    const { items: released } = await unwrap(items);
    expect(audit.events).toMatchObject(
      items.map(({ vaultId }) => ({
        action: 'dek.unwrap',
        decision: 'allow',
        actor: { id: 'api-service', type: 'service' },
        resource: { vaultId },
        dekVersion: 1,
        kekVersion: 1,
      })),
    );
    expect(new Set(audit.events.map(({ requestId }) => requestId)).size).toBe(1);
    for (const { dekBase64 } of released) expect(JSON.stringify([audit.events, kek.lines])).not.toContain(dekBase64);
  });

  test('is not released when it cannot be recorded', async () => {
    const items = await wrapMany(1);
    await audit.drain(0);
    const asked = kek.as('api-service').post(unwrapDeks.path, JSON.stringify({ items }), 60_000);
    await expect(asked).rejects.toMatchObject({ code: 'unavailable' });
    audit = await startRecordingAuditService(folder);
  });
});

describe('the budget of unwraps', () => {
  test('freezes a service that unwraps one vault too many, and no other service', async () => {
    const items = await wrapMany(11);
    for (const item of items.slice(0, 10)) await unwrap([item]);
    // The same vaults again are no others.
    await unwrap(items.slice(0, 10));
    await expect(unwrap([items[10]!])).rejects.toMatchObject({
      code: 'sealed',
      message: expect.stringContaining(
        'the unwraps of api-service are frozen, because it unwrapped more than its budget',
      ),
    });
    // Not even a vault that it has unwrapped before.
    await expect(unwrap([items[0]!])).rejects.toMatchObject({ code: 'sealed' });
    await kek.as('worker').call(unwrapDeks, { body: { items: [items[10]!] } });
    expect((await kek.as('operator').call(sealStatus, {})).frozen).toEqual(['api-service']);
    expect(await kek.metric('cardea_unwraps_frozen{peer="api-service"')).toBe(1);
    expect(await kek.metric('cardea_suspicious_total{rule="unwrap_budget"')).toBe(1);
    expect(audit.events.filter(({ action }) => action === 'unwrap.freeze')).toMatchObject([
      { decision: 'deny', actor: { id: 'api-service' }, suspicious: 'unwrap_budget', rule: 'unwrap-budget' },
    ]);
  });

  test('freezes a batch as a whole, and many requests at once give away no more than it', async () => {
    const items = await wrapMany(40);
    await expect(unwrap(items.slice(0, 11))).rejects.toMatchObject({ code: 'sealed' });
    await kek.as('operator').call(unfreezeUnwraps, { body: { peer: 'api-service', reason } });
    const released = await Promise.allSettled(items.map((item) => unwrap([item])));
    expect(released.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
  });

  test('freezes a service that unwraps too many DEKs, be they of one vault', async () => {
    const [item] = await wrapMany(1);
    const many = (count: number) => unwrap(Array.from({ length: count }, () => item!));
    await many(50);
    kek.clock.now += 59_000;
    await expect(many(1)).rejects.toMatchObject({ code: 'sealed' });
  });

  test('is for a minute: a service that keeps to it is never frozen', async () => {
    const items = await wrapMany(40);
    for (let minute = 0; minute < 4; minute += 1) {
      await unwrap(items.slice(minute * 10, (minute + 1) * 10));
      kek.clock.now += 60_000;
    }
    expect((await kek.as('operator').call(sealStatus, {})).frozen).toEqual([]);
  });

  test('stays used up over a restart, also of one whose freeze was not recorded', async () => {
    const items = await wrapMany(11);
    await expect(unwrap(items)).rejects.toMatchObject({ code: 'sealed' });
    await kek.stop();
    await start({ vaultsPerMinute: 1_000, unwrapsPerMinute: 1_000 });
    await expect(unwrap([items[0]!])).rejects.toMatchObject({ code: 'sealed' });
    expect(await kek.metric('cardea_unwraps_frozen{peer="api-service"')).toBe(1);
  });

  test('freezes also while the audit log is away, and the record follows', async () => {
    const items = await wrapMany(11);
    await audit.drain(0);
    const asked = kek.as('api-service').post(unwrapDeks.path, JSON.stringify({ items }), 60_000);
    await expect(asked).rejects.toMatchObject({ code: 'sealed' });
    await kek.stop();
    audit = await startRecordingAuditService(folder);
    await start();
    expect(audit.events).toMatchObject([{ action: 'unwrap.freeze', suspicious: 'unwrap_budget' }]);
    await expect(unwrap([items[0]!])).rejects.toMatchObject({ code: 'sealed' });
  });

  test('is lifted by an operator at any time, and by another service once an hour', async () => {
    const items = await wrapMany(11);
    const freeze = () => expect(unwrap(items)).rejects.toMatchObject({ code: 'sealed' });
    await expect(lift('operator')).rejects.toMatchObject({ code: 'conflict' });
    await freeze();
    await lift('api-service');
    await unwrap(items.slice(0, 10));
    await freeze();
    audit.events.length = 0;
    await expect(lift('api-service')).rejects.toMatchObject({ code: 'rate_limited' });
    await lift('operator');
    await freeze();
    kek.clock.now += 3_600_000;
    await lift('api-service');
    expect(audit.events.filter(({ action }) => action === 'unwrap.unfreeze')).toMatchObject([
      { decision: 'deny', rule: 'unfreeze-wait', suspicious: 'unwrap_budget' },
      { decision: 'allow', actor: { id: 'operator' }, reason, resource: { name: 'api-service' } },
      { decision: 'allow', actor: { id: 'api-service' }, reason, resource: { name: 'api-service' } },
    ]);
  });

  test.each([
    ['goes on', false],
    ['has started again', true],
  ])('is lifted by a service after an hour, also if the clock was set back and the process %s', async (_, restarts) => {
    const items = await wrapMany(11);
    const freeze = () => expect(unwrap(items)).rejects.toMatchObject({ code: 'sealed' });
    kek.clock.now += 7_200_000;
    await freeze();
    await lift('api-service');
    await freeze();
    if (restarts) {
      await kek.stop();
      await start();
    } else kek.clock.now -= 7_200_000;
    await expect(lift('api-service')).rejects.toMatchObject({ code: 'rate_limited' });
    kek.clock.now += 3_600_000;
    await lift('api-service');
    expect(audit.events.filter(({ action }) => action === 'unwrap.unfreeze')).toMatchObject([
      { decision: 'allow' },
      { decision: 'deny', rule: 'unfreeze-wait' },
      { decision: 'allow' },
    ]);
  });

  test('is lifted once by many calls of a service at once: the hour counts from the first', async () => {
    const items = await wrapMany(11);
    await expect(unwrap(items)).rejects.toMatchObject({ code: 'sealed' });
    audit.events.length = 0;
    const lifted = await Promise.allSettled(Array.from({ length: 20 }, () => lift('api-service')));
    expect(lifted.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const records = audit.events.filter(({ action, decision }) => action === 'unwrap.unfreeze' && decision === 'allow');
    expect(records).toHaveLength(1);
  });

  test('is not lifted while the audit log is away, and a failed lift does not use up the hour', async () => {
    const items = await wrapMany(11);
    await expect(unwrap(items)).rejects.toMatchObject({ code: 'sealed' });
    await audit.drain(0);
    const body = JSON.stringify({ peer: 'api-service', reason });
    const lifted = kek.as('api-service').post(unfreezeUnwraps.path, body, 60_000);
    await expect(lifted).rejects.toMatchObject({ code: 'unavailable' });
    expect((await kek.as('operator').call(sealStatus, {})).frozen).toEqual(['api-service']);
    await kek.stop();
    audit = await startRecordingAuditService(folder);
    await start();
    await lift('api-service');
    await unwrap([items[0]!]);
  });

  test('whose file is damaged is not forgotten: the start refuses', async () => {
    await kek.stop();
    await writeFile(join(folder, 'kek', 'freezes.json'), '{"frozenAt":');
    await expect(start()).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringContaining('freezes.json'),
    });
    await rm(join(folder, 'kek', 'freezes.json'));
    await start();
  });
});

async function start(unwrapBudget = { vaultsPerMinute: 10, unwrapsPerMinute: 50 }): Promise<void> {
  kek = await startTestKek({ dataDir: folder, tlsDir: folder, auditUrl: audit.url, unwrapBudget });
}

/** DEKs of different vaults. */
async function wrapMany(count: number): Promise<Item[]> {
  const refs = Array.from({ length: count }, () => ({ vaultId: uuidv7(0), dekVersion: 1 }));
  const items = refs.map((ref) => ({ ...ref, dekBase64: Buffer.from(randomKey()).toString('base64') }));
  const wrapped = await kek.as('api-service').call(wrapDeks, { body: { items } });
  return refs.map((ref, at) => ({ ...ref, ...wrapped.items[at]! }));
}

function unwrap(items: Item[]) {
  return kek.as('api-service').call(unwrapDeks, { body: { items } });
}
