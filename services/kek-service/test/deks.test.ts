import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rewrapDeks, unwrapDeks, wrapDeks } from '@cardea/contracts/kek-api';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { ensureCertificates } from '@cardea/deploy/certificates';
import type { Listening } from '@cardea/http/server/serve';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { startRecordingAuditService } from './recording-audit-service.ts';
import { startTestKek } from './test-kek.ts';
import type { TestKek } from './test-kek.ts';

const ref = { vaultId: uuidv7(0), dekVersion: 1 };
const dekBase64 = Buffer.from(randomKey()).toString('base64');
let folder: string;
let audit: Awaited<ReturnType<typeof startRecordingAuditService>>;
let kek: TestKek;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-kek-'));
  await ensureCertificates(folder, new Date());
  audit = await startRecordingAuditService(folder);
  kek = await startTestKek({ dataDir: folder, tlsDir: folder, auditUrl: audit.url });
});

afterAll(async () => {
  await kek.stop();
  await audit.drain(0);
  await rm(folder, { recursive: true, force: true });
});

beforeEach(() => {
  audit.events.length = 0;
  kek.lines.length = 0;
  // Long enough for the bucket of unwraps to fill up again.
  kek.clock.now += 10_000;
});

describe('over mutual TLS', () => {
  test('worker unwraps the DEK that api-service wrapped', async () => {
    const wrapped = await wrap();
    expect(wrapped.kekVersion).toBe(1);
    const { items } = await kek.as('worker').call(unwrapDeks, { body: { items: [{ ...ref, ...wrapped }] } });
    expect(items).toEqual([{ dekBase64 }]);
    expect(audit.events).toMatchObject([{ action: 'dek.unwrap', decision: 'allow', actor: { id: 'worker' } }]);
  });

  test('256 DEKs come back in their order; 257 are refused', async () => {
    const deks = Array.from({ length: 256 }, (_, index) => ({
      vaultId: ref.vaultId,
      dekVersion: index + 1,
      dekBase64: Buffer.from(randomKey()).toString('base64'),
    }));
    const wrapped = await kek.as('worker').call(wrapDeks, { body: { items: deks } });
    const items = wrapped.items.map((item, index) => ({ vaultId: ref.vaultId, dekVersion: index + 1, ...item }));
    const unwrapped = await kek.as('worker').call(unwrapDeks, { body: { items } });
    expect(unwrapped.items).toEqual(deks.map((item) => ({ dekBase64: item.dekBase64 })));

    const tooMany = kek.as('worker').call(wrapDeks, { body: { items: [...deks, deks[0]!] } });
    await expect(tooMany).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('rewrapping makes another envelope of the same DEK, and the answer does not hold the DEK', async () => {
    const wrapped = await wrap();
    const body = JSON.stringify({ items: [{ ...ref, ...wrapped }] });
    const answer = (await kek.as('worker').post(rewrapDeks.path, body, 60_000)) as { items: [typeof wrapped] };
    expect(Object.keys(answer.items[0]).sort()).toEqual(['kekVersion', 'wrappedDekBase64']);
    expect(answer.items[0].wrappedDekBase64).not.toBe(wrapped.wrappedDekBase64);
    const envelope = Buffer.from(answer.items[0].wrappedDekBase64, 'base64');
    expect(JSON.stringify(answer)).not.toContain(dekBase64);
    expect(envelope.includes(Buffer.from(dekBase64, 'base64'))).toBe(false);
    expect(await unwrap(ref, answer.items[0])).toBe(dekBase64);
  });

  test('a DEK wrapped before a restart unwraps after it', async () => {
    const wrapped = await wrap();
    const again = await startTestKek({ dataDir: folder, tlsDir: folder });
    const { items } = await again.as('worker').call(unwrapDeks, { body: { items: [{ ...ref, ...wrapped }] } });
    await again.stop();
    expect(items).toEqual([{ dekBase64 }]);
  });

  test('a metric counts the DEKs of each operation', async () => {
    const before = await kek.metric('cardea_dek_operations_total{operation="wrap"');
    await wrap();
    expect(await kek.metric('cardea_dek_operations_total{operation="wrap"')).toBe(before + 1);
  });
});

describe('a wrapped DEK', () => {
  test.each([
    ['another vault', { ...ref, vaultId: uuidv7(1) }],
    ['another DEK version', { ...ref, dekVersion: 2 }],
  ])('does not open for %s: it is refused, logged as an integrity failure and recorded', async (_, other) => {
    const wrapped = await wrap();
    for (const operation of [unwrapDeks, rewrapDeks]) {
      audit.events.length = 0;
      kek.lines.length = 0;
      const asked = kek
        .as('worker')
        .post(operation.path, JSON.stringify({ items: [{ ...other, ...wrapped }] }), 60_000);
      await expect(asked).rejects.toMatchObject({ code: 'access_denied' });
      expect(audit.events).toEqual([
        expect.objectContaining({
          action: operation.action,
          decision: 'deny',
          reason: 'access_denied',
          suspicious: 'wrapped_dek_mismatch',
          actor: { id: 'worker', type: 'service' },
        }),
      ]);
      const failure = expect.objectContaining({ vaultId: other.vaultId, dekVersion: other.dekVersion });
      expect(kek.lines).toContainEqual({ level: 'error', message: 'integrity_failure', fields: failure });
    }
  });

  test('that does not open makes the whole batch fail, and no DEK is released', async () => {
    const good = { ...ref, ...(await wrap()) };
    const asked = kek.as('worker').call(unwrapDeks, { body: { items: [good, { ...good, dekVersion: 2 }] } });
    await expect(asked).rejects.toMatchObject({ code: 'access_denied' });
  });

  test('of an unknown KEK is refused with that reason', async () => {
    const asked = unwrap(ref, { ...(await wrap()), kekVersion: 7 });
    await expect(asked).rejects.toMatchObject({
      code: 'not_found',
      message: 'kek-service: KEK version 7 does not exist',
    });
  });
});

describe('a request', () => {
  test('to unwrap is refused if it names no DEK or has a wrong size', async () => {
    const { wrappedDekBase64, kekVersion } = await wrap();
    const bodies = [
      { items: [{ wrappedDekBase64, kekVersion }] },
      { items: [{ vaultId: ref.vaultId, wrappedDekBase64, kekVersion }] },
      { items: [{ dekVersion: 1, wrappedDekBase64, kekVersion }] },
      { items: [] },
      {},
    ];
    for (const body of bodies) {
      const asked = kek.as('worker').post(unwrapDeks.path, JSON.stringify(body), 60_000);
      await expect(asked).rejects.toMatchObject({ code: 'invalid_request' });
    }
    // 44 characters of base64 may also be 31 or 33 bytes.
    for (const bytes of [31, 33]) {
      const dekBase64 = Buffer.alloc(bytes).toString('base64');
      const asked = kek.as('worker').call(wrapDeks, { body: { items: [{ ...ref, dekBase64 }] } });
      await expect(asked).rejects.toMatchObject({ code: 'invalid_request' });
    }
  });

  test('with a duplicate key is refused and recorded as suspicious', async () => {
    const twice = `{"items":[{"vaultId":"${ref.vaultId}","dekVersion":1,"dekVersion":1,"dekBase64":"${dekBase64}"}]}`;
    const asked = kek.as('worker').post(wrapDeks.path, twice, 60_000);
    await expect(asked).rejects.toMatchObject({ code: 'invalid_request' });
    expect(audit.events).toMatchObject([{ action: 'dek.wrap', decision: 'deny', suspicious: 'malformed_json' }]);
  });

  test('for a key finds nothing there', async () => {
    for (const path of ['/v1/keks/1', '/v1/deks', '/v1/keyring', '/v1', '/', '/metrics', '/healthz']) {
      await expect(kek.as('worker').text(path)).rejects.toMatchObject({ code: 'not_found' });
    }
    await expect(kek.as('worker').text(unwrapDeks.path)).rejects.toMatchObject({ code: 'method_not_allowed' });
  });
});

describe('the unwrap limit', () => {
  test('is 1,000 DEKs at once and then 200 a second for each peer, and refusals are counted', async () => {
    const item = { ...ref, ...(await wrap()) };
    const unwrapMany = (count: number) =>
      kek.as('worker').call(unwrapDeks, { body: { items: Array.from({ length: count }, () => item) } });
    for (const count of [256, 256, 256, 232]) await unwrapMany(count);

    const before = await kek.metric('cardea_refusals_total{code="rate_limited"');
    await expect(unwrapMany(1)).rejects.toMatchObject({ code: 'rate_limited' });
    expect(await kek.metric('cardea_refusals_total{code="rate_limited"')).toBe(before + 1);
    const refusals = audit.events.filter(({ decision }) => decision === 'deny');
    expect(refusals).toMatchObject([{ action: 'dek.unwrap', reason: 'rate_limited', rule: 'unwrap-rate' }]);

    expect(await unwrap(ref, item)).toBe(dekBase64);
    kek.clock.now += 1_000;
    await unwrapMany(200);
    await expect(unwrapMany(1)).rejects.toMatchObject({ code: 'rate_limited' });
  });
});

describe('while the audit log does not answer', () => {
  let gone: Listening;
  let alone: TestKek;

  beforeAll(async () => {
    gone = await startRecordingAuditService(folder);
    await gone.drain(0);
    alone = await startTestKek({ dataDir: folder, tlsDir: folder, auditUrl: gone.url });
  });

  afterAll(() => alone.stop());

  test('DEKs are wrapped, none is unwrapped, and refusals stand', async () => {
    const body = { items: [{ ...ref, dekBase64 }] };
    const wrapped = (await alone.as('api-service').call(wrapDeks, { body })).items[0]!;
    const asked = alone
      .as('api-service')
      .call(unwrapDeks, { body: { items: [{ ...ref, dekVersion: 2, ...wrapped }] } });
    await expect(asked).rejects.toMatchObject({ code: 'access_denied' });
    const right = JSON.stringify({ items: [{ ...ref, ...wrapped }] });
    await expect(alone.as('api-service').post(unwrapDeks.path, right, 60_000)).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect(alone.lines).toContainEqual(
      expect.objectContaining({
        message: 'refused',
        fields: expect.objectContaining({ peer: 'api-service', suspicious: 'wrapped_dek_mismatch' }),
      }),
    );
  });
});

async function wrap() {
  const { items } = await kek.as('api-service').call(wrapDeks, { body: { items: [{ ...ref, dekBase64 }] } });
  return items[0]!;
}

async function unwrap(of: typeof ref, wrapped: Awaited<ReturnType<typeof wrap>>): Promise<string> {
  const { vaultId, dekVersion } = of;
  const { wrappedDekBase64, kekVersion } = wrapped;
  const item = { vaultId, dekVersion, wrappedDekBase64, kekVersion };
  return (await kek.as('api-service').call(unwrapDeks, { body: { items: [item] } })).items[0]!.dekBase64;
}
