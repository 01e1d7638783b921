import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import type { RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { destroyKek, listKeks, rewrapDeks, rotateKek, unwrapDeks, wrapDeks } from '@cardea/contracts/kek-api';
import {
  addSeal,
  followSeal,
  listSeals,
  removeSeal,
  seal,
  sealStatus,
  unfreezeUnwraps,
  unseal,
} from '@cardea/contracts/seal-api';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { readTlsIdentity } from '@cardea/http/mtls';
import type { ServiceName, TlsFiles } from '@cardea/http/mtls';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startRecordingAuditService } from './recording-audit-service.ts';
import { startTestKek } from './test-kek.ts';
import type { TestKek } from './test-kek.ts';

const ref = { vaultId: uuidv7(0), dekVersion: 1 };
let folder: string;
let audit: Awaited<ReturnType<typeof startRecordingAuditService>>;
let kek: TestKek;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-kek-'));
  await Promise.all([ensureCertificates(folder, new Date()), ensureCertificates(join(folder, 'other'), new Date())]);
  audit = await startRecordingAuditService(folder);
  kek = await startTestKek({ dataDir: folder, tlsDir: folder, auditUrl: audit.url });
});

afterAll(async () => {
  await kek.stop();
  await audit.drain(0);
  await rm(folder, { recursive: true, force: true });
});

const bodies = new Map<string, unknown>([
  [wrapDeks.path, { items: [{ ...ref, dekBase64: Buffer.from(randomKey()).toString('base64') }] }],
  [unwrapDeks.path, { items: [{ ...ref, wrappedDekBase64: 'AAAA', kekVersion: 1 }] }],
  [rewrapDeks.path, { items: [{ ...ref, wrappedDekBase64: 'AAAA', kekVersion: 1 }] }],
  [rotateKek.path, { requestId: uuidv7(0) }],
  [destroyKek.path, {}],
  [addSeal.path, { id: uuidv7(0), seal: { type: 'file' } }],
  [unfreezeUnwraps.path, { peer: 'worker', reason: 'looked into it' }],
  [unseal.path, { passphrase: 'never looked at' }],
  [seal.path, {}],
]);

const strangers: [string, ServiceName[]][] = [
  [wrapDeks.path, ['audit-service', 'operator', 'kek-service']],
  [unwrapDeks.path, ['audit-service', 'operator', 'kek-service']],
  [rewrapDeks.path, ['audit-service', 'operator', 'kek-service']],
  [rotateKek.path, ['audit-service', 'operator', 'kek-service']],
  [destroyKek.path, ['audit-service', 'operator', 'kek-service']],
  [addSeal.path, ['worker', 'audit-service', 'operator', 'kek-service']],
  [unfreezeUnwraps.path, ['worker', 'audit-service', 'kek-service']],
  [unseal.path, ['api-service', 'worker', 'audit-service', 'kek-service']],
  [seal.path, ['api-service', 'worker', 'audit-service', 'kek-service']],
];

test.each(strangers)(
  '%s refuses every certificate that may not call it, and records the refusal',
  async (path, names) => {
    for (const name of names) {
      audit.events.length = 0;
      const asked = kek.as(name).post(path.replace('{version}', '1'), JSON.stringify(bodies.get(path)), 60_000);
      await expect(asked).rejects.toMatchObject({
        code: 'access_denied',
        message: expect.stringContaining('certificate'),
      });
      expect(audit.events).toEqual([
        expect.objectContaining({ decision: 'deny', suspicious: 'wrong_peer', actor: { id: name, type: 'service' } }),
      ]);
    }
  },
);

test('only the peers that need the state of the seal can read it', async () => {
  for (const name of ['operator', 'api-service', 'worker'] as const) {
    expect(await kek.as(name).call(sealStatus, {})).toMatchObject({ sealed: false, seals: [{ type: 'file' }] });
  }
  await expect(kek.as('audit-service').call(sealStatus, {})).rejects.toMatchObject({ code: 'access_denied' });
});

test('the seals are listed for api-service, and their state is followed by those who hold DEKs', async () => {
  expect((await kek.as('api-service').call(listSeals, {})).items).toMatchObject([{ type: 'file' }]);
  for (const name of ['worker', 'operator', 'audit-service', 'kek-service'] as const) {
    await expect(kek.as(name).call(listSeals, {})).rejects.toMatchObject({ code: 'access_denied' });
    const removed = kek.as(name).call(removeSeal, { params: { id: uuidv7(0) } });
    await expect(removed).rejects.toMatchObject({ code: 'access_denied' });
  }
  for (const name of ['operator', 'audit-service', 'kek-service'] as const) {
    await expect(kek.as(name).stream(followSeal.path, {})).rejects.toMatchObject({ code: 'access_denied' });
  }
});

test('the versions of the KEK are listed for those who rotate it and for nobody else', async () => {
  for (const name of ['api-service', 'worker'] as const) {
    expect((await kek.as(name).call(listKeks, {})).items).toMatchObject([{ version: 1, state: 'enabled' }]);
  }
  for (const name of ['operator', 'audit-service', 'kek-service'] as const) {
    await expect(kek.as(name).call(listKeks, {})).rejects.toMatchObject({ code: 'access_denied' });
  }
});

test('a certificate with the right name from another CA does not get as far as a request', async () => {
  const { cert, key } = identityIn(join(folder, 'other'), 'api-service');
  await expectRefusedHandshake({ cert, key });
});

test('a connection without a certificate is refused in the handshake', async () => {
  await expectRefusedHandshake({});
});

test('TLS 1.2 is refused, even with the right certificate', async () => {
  const { cert, key } = identityIn(folder, 'api-service');
  expect(await statusOf({ cert, key })).toBe(200);
  await expectRefusedHandshake({ cert, key, maxVersion: 'TLSv1.2' });
});

test('refused handshakes are all counted, and logged once a second with their number', async () => {
  const before = await kek.metric('cardea_tls_handshakes_refused_total');
  kek.clock.now += 1_000;
  kek.lines.length = 0;
  for (let i = 0; i < 5; i += 1) await expect(statusOf({})).rejects.toMatchObject({ code: expect.any(String) });
  kek.clock.now += 1_000;
  await expect(statusOf({})).rejects.toMatchObject({ code: expect.any(String) });
  expect(await kek.metric('cardea_tls_handshakes_refused_total')).toBe(before + 6);
  expect(kek.lines).toMatchObject([
    { message: 'a TLS handshake was refused', fields: { count: 0 } },
    { message: 'a TLS handshake was refused', fields: { count: 4 } },
  ]);
});

async function expectRefusedHandshake(options: RequestOptions): Promise<void> {
  kek.clock.now += 1_000;
  const before = await kek.metric('cardea_tls_handshakes_refused_total');
  audit.events.length = 0;
  kek.lines.length = 0;
  await expect(statusOf(options)).rejects.toMatchObject({ code: expect.any(String) });
  expect(await kek.metric('cardea_tls_handshakes_refused_total')).toBe(before + 1);
  expect(kek.lines).toEqual([expect.objectContaining({ level: 'warn', message: 'a TLS handshake was refused' })]);
  expect(audit.events).toEqual([]);
}

function statusOf(options: RequestOptions): Promise<number | undefined> {
  const { ca } = identityIn(folder, 'api-service');
  return new Promise((resolve, reject) => {
    const url = new URL(sealStatus.path, kek.url);
    const asked = request(url, { ca, agent: false, ...options }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on('error', reject);
    asked.end();
  });
}

function identityIn(tlsDir: string, name: ServiceName): TlsFiles {
  return readTlsIdentity(tlsDir, name).current();
}
