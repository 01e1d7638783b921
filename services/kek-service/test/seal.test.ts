import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rewrapDeks, unwrapDeks, wrapDeks } from '@cardea/contracts/kek-api';
import { seal, sealStatus, unseal } from '@cardea/contracts/seal-api';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { startRecordingAuditService } from './recording-audit-service.ts';
import { startTestKek } from './test-kek.ts';
import type { TestKek } from './test-kek.ts';

const passphrase = 'correct horse battery staple';
const ref = { vaultId: uuidv7(0), dekVersion: 1 };
const dekBase64 = Buffer.from(randomKey()).toString('base64');
const wrapBody = { items: [{ ...ref, dekBase64 }] };
let folder: string;
let config: { dataDir: string; tlsDir: string; seal: 'passphrase' };
let audit: Awaited<ReturnType<typeof startRecordingAuditService>>;
let wrapped: { wrappedDekBase64: string; kekVersion: number };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-kek-'));
  await ensureCertificates(folder, new Date());
  audit = await startRecordingAuditService(folder);
  config = { dataDir: folder, tlsDir: folder, seal: 'passphrase' };
  await writeFile(join(folder, 'passphrase'), `${passphrase}\n`, { mode: 0o600 });
  const first = await startTestKek({ ...config, passphraseFile: join(folder, 'passphrase') });
  wrapped = (await first.as('worker').call(wrapDeks, { body: wrapBody })).items[0]!;
  await first.stop();
});

afterAll(async () => {
  await audit.drain(0);
  await rm(folder, { recursive: true, force: true });
});

describe('with an audit log', () => {
  let kek: TestKek;

  beforeEach(async () => {
    audit.events.length = 0;
    kek = await startTestKek({ ...config, auditUrl: audit.url });
  });

  afterEach(() => kek.stop());

  test('a start without the passphrase is sealed: not ready, and every use of a KEK is refused', async () => {
    await expectSealed(kek);
    expect(await kek.as('operator').call(sealStatus, {})).toMatchObject({
      sealed: true,
      seals: [{ type: 'passphrase' }],
    });
    expect((await fetch(`${kek.opsUrl}/readyz`)).status).toBe(503);
    expect((await fetch(`${kek.opsUrl}/healthz`)).status).toBe(200);
    expect(await kek.metric('cardea_sealed')).toBe(1);
  });

  test('the passphrase unseals it, DEKs wrapped before unwrap, and the unsealing is recorded', async () => {
    expect(await kek.as('operator').call(unseal, { body: { passphrase } })).toEqual({ sealed: false });
    expect(await unwrapped(kek)).toBe(dekBase64);
    expect((await fetch(`${kek.opsUrl}/readyz`)).status).toBe(200);
    expect(await kek.metric('cardea_sealed')).toBe(0);
    expect(sealEvents()).toMatchObject([
      { action: 'seal.open', decision: 'allow', actor: { id: 'operator', type: 'service' } },
    ]);
    // While it is open, the same call proves that the passphrase would open it.
    expect(await kek.as('operator').call(unseal, { body: { passphrase } })).toEqual({ sealed: false });
    expect(audit.events.at(-1)).toMatchObject({ action: 'seal.prove', decision: 'allow', actor: { id: 'operator' } });
  });

  test('an operator seals it and unseals it again', async () => {
    await kek.as('operator').call(unseal, { body: { passphrase } });
    expect(await kek.as('operator').call(seal, { body: {} })).toEqual({ sealed: true });
    await expectSealed(kek);
    await kek.as('operator').call(unseal, { body: { passphrase } });
    expect(await unwrapped(kek)).toBe(dekBase64);
    expect(sealEvents().map((event) => `${event.action} ${event.decision}`)).toEqual([
      'seal.open allow',
      'seal.close allow',
      'seal.open allow',
    ]);
  });

  test('a wrong passphrase does not unseal it, is recorded, and makes the next attempt wait', async () => {
    const attempt = (guess: string) => kek.as('operator').call(unseal, { body: { passphrase: guess } });
    await expect(attempt(`${passphrase}!`)).rejects.toMatchObject({ code: 'access_denied' });
    await expect(attempt(passphrase)).rejects.toMatchObject({ code: 'rate_limited' });
    await expectSealed(kek);
    kek.clock.now += 1_000;
    expect(await attempt(passphrase)).toEqual({ sealed: false });
    expect(audit.events).toMatchObject([
      { action: 'seal.open', decision: 'deny', suspicious: 'wrong_passphrase' },
      { action: 'seal.open', decision: 'deny', suspicious: 'unseal_guessing' },
      { action: 'seal.open', decision: 'allow' },
    ]);
    expect(JSON.stringify([audit.events, kek.lines])).not.toContain(passphrase);
  });
});

test('a start with the passphrase is unsealed', async () => {
  const kek = await startTestKek({ ...config, passphraseFile: join(folder, 'passphrase') });
  expect(await unwrapped(kek)).toBe(dekBase64);
  await kek.stop();
});

test('it is neither unsealed nor sealed while the audit log does not answer', async () => {
  const gone = await startRecordingAuditService(folder);
  await gone.drain(0);
  const sealed = await startTestKek({ ...config, auditUrl: gone.url });
  const open = await startTestKek({
    ...config,
    passphraseFile: join(folder, 'passphrase'),
    auditUrl: gone.url,
  });
  const timeoutMs = 20_000;
  await Promise.all([
    expect(sealed.as('operator').call(unseal, { body: { passphrase }, timeoutMs })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('audit log'),
    }),
    expect(open.as('operator').call(seal, { body: {}, timeoutMs })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('audit log'),
    }),
  ]);
  const wrong = sealed.as('operator').call(unseal, { body: { passphrase: 'a guess nobody sees' }, timeoutMs });
  await expect(wrong).rejects.toMatchObject({ code: 'unavailable' });
  await expectSealed(sealed);
  expect((await open.as('worker').call(wrapDeks, { body: wrapBody })).items).toHaveLength(1);
  await Promise.all([sealed.stop(), open.stop()]);
});

const sealEvents = () => audit.events.filter(({ action }) => action.startsWith('seal.'));

async function expectSealed(kek: TestKek): Promise<void> {
  const item = { ...ref, ...wrapped };
  await expect(kek.as('worker').call(wrapDeks, { body: wrapBody })).rejects.toMatchObject({ code: 'sealed' });
  for (const operation of [unwrapDeks, rewrapDeks]) {
    const asked = kek.as('worker').post(operation.path, JSON.stringify({ items: [item] }), 60_000);
    await expect(asked).rejects.toMatchObject({ code: 'sealed' });
  }
}

async function unwrapped(kek: TestKek): Promise<string> {
  const body = { items: [{ ...ref, ...wrapped }] };
  return (await kek.as('worker').call(unwrapDeks, { body })).items[0]!.dekBase64;
}
