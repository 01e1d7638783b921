import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Keks } from '@cardea/contracts/keks';
import { randomKey, sha256, uuidv7 } from '@cardea/crypto/ids';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { createKekClient } from '@cardea/http/client/kek-client';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startRecordingAuditService } from './recording-audit-service.ts';
import { startTestKek } from './test-kek.ts';
import type { TestKek } from './test-kek.ts';

const ref = { vaultId: uuidv7(0), dekVersion: 1 };
const dek = randomKey();

let folder: string;
let audit: Awaited<ReturnType<typeof startRecordingAuditService>>;
let kek: TestKek;
let keks: Keks;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-kek-'));
  await ensureCertificates(folder, new Date());
  audit = await startRecordingAuditService(folder);
  await start();
});

afterEach(async () => {
  await kek.stop();
  await audit.drain(0);
  await rm(folder, { recursive: true, force: true });
});

describe('a KEK rotation', () => {
  test('makes a version that wraps from then on, while the older one only unwraps; both records are in the log', async () => {
    const before = await keks.wrap(ref, dek);
    audit.events.length = 0;
    const requestId = randomUUID();
    expect(await keks.rotate(requestId)).toBe(2);

    expect(await keks.list()).toEqual([
      { version: 1, state: 'decrypt-only', createdAt: expect.any(String), requestId: null },
      { version: 2, state: 'enabled', createdAt: '2026-11-22T06:27:31.000Z', requestId },
    ]);
    expect((await keks.wrap(ref, dek)).kekVersion).toBe(2);
    expect(Buffer.from(await keks.unwrap(ref, before))).toEqual(Buffer.from(dek));
    const keyring = await readFile(join(folder, 'kek', 'keyring.json'));
    const actor = { id: 'worker', type: 'service' };
    expect(audit.events.filter(({ action }) => action.startsWith('ke'))).toMatchObject([
      { action: 'kek.rotate', decision: 'allow', actor, kekVersion: 2, resource: { name: requestId } },
      {
        action: 'keyring.replace',
        decision: 'allow',
        actor,
        resource: { name: 'keyring', version: 2 },
        ciphertextSha256: Buffer.from(sha256(keyring)).toString('hex'),
      },
    ]);
  });

  test('that is asked for again answers the same version and makes nothing, also after a restart', async () => {
    const requestId = randomUUID();
    const versions = await Promise.all([keks.rotate(requestId), keks.rotate(requestId), keks.rotate(requestId)]);
    expect(versions).toEqual([2, 2, 2]);
    await kek.stop();
    await start();
    audit.events.length = 0;
    expect(await keks.rotate(requestId)).toBe(2);
    expect(await keks.rotate(randomUUID())).toBe(3);
    expect(await keks.rotate(requestId)).toBe(2);
    expect(audit.events.map(({ action }) => action)).toEqual(['kek.rotate', 'keyring.replace']);
  });

  test('that many ask for at once gives each its own version', async () => {
    const versions = await Promise.all(Array.from({ length: 8 }, () => keks.rotate(randomUUID())));
    expect(versions.toSorted((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
    const states = (await keks.list()).map(({ state }) => state);
    expect(states).toEqual([...Array.from({ length: 8 }, () => 'decrypt-only'), 'enabled']);
  });

  test('is refused while kek-service is sealed', async () => {
    await kek.as('operator').post('/v1/seal', '{}', 60_000);
    await expect(keks.rotate(randomUUID())).rejects.toMatchObject({ code: 'sealed' });
    await expect(keks.list()).rejects.toMatchObject({ code: 'sealed' });
  });
});

describe('a KEK that is destroyed', () => {
  test('unwraps no more, and that is an integrity failure with a record', async () => {
    const wrapped = await keks.wrap(ref, dek);
    await keks.rotate(randomUUID());
    audit.events.length = 0;
    await keks.destroy(1);
    expect((await keks.list()).map(({ state }) => state)).toEqual(['destroyed', 'enabled']);
    expect(audit.events).toMatchObject([
      { action: 'kek.destroy', decision: 'allow', kekVersion: 1 },
      { action: 'keyring.replace', decision: 'allow', resource: { version: 3 } },
    ]);

    audit.events.length = 0;
    const damage = { code: 'internal', rule: 'integrity', suspicious: 'integrity_failure' };
    await expect(keks.unwrap(ref, wrapped)).rejects.toMatchObject(damage);
    await expect(keks.rewrap([{ ref, wrapped }])).rejects.toMatchObject(damage);
    const record = { decision: 'deny', rule: 'missing-kek', suspicious: 'integrity_failure' };
    expect(audit.events).toMatchObject([
      { ...record, action: 'dek.unwrap' },
      { ...record, action: 'dek.rewrap' },
    ]);
    expect(kek.lines).toContainEqual(expect.objectContaining({ level: 'error', message: 'integrity_failure' }));
  });

  test('may be destroyed again, which changes nothing', async () => {
    await keks.rotate(randomUUID());
    await keks.destroy(1);
    audit.events.length = 0;
    await keks.destroy(1);
    expect(audit.events).toEqual([]);
  });

  test('is not the newest, nor one that never existed: those are refused and recorded', async () => {
    audit.events.length = 0;
    await expect(keks.destroy(1)).rejects.toMatchObject({ code: 'conflict' });
    await expect(keks.destroy(2)).rejects.toMatchObject({ code: 'not_found' });
    expect(audit.events).toMatchObject([
      { action: 'kek.destroy', decision: 'deny', reason: 'conflict' },
      { action: 'kek.destroy', decision: 'deny', reason: 'not_found' },
    ]);
  });
});

describe('while the audit log does not answer', () => {
  test('a KEK is made, its record waits, and the log has it once it answers, also after a restart', async () => {
    await audit.drain(0);
    const requestId = randomUUID();
    const asked = kek.as('worker').post('/v1/keks:rotate', JSON.stringify({ requestId }), 60_000);
    await expect(asked).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('its record waits for the audit log: repeat the call'),
    });
    // The log is known to be away now, so nothing more is changed.
    await expect(keks.rotate(randomUUID())).rejects.toMatchObject({ code: 'unavailable' });

    await kek.stop();
    audit = await startRecordingAuditService(folder);
    await start();
    expect(audit.events.map(({ action }) => action)).toEqual(['kek.rotate', 'keyring.replace']);
    expect(await keks.rotate(requestId)).toBe(2);
    expect(audit.events).toHaveLength(2);
  });
});

async function start(): Promise<void> {
  kek = await startTestKek({ dataDir: folder, tlsDir: folder, auditUrl: audit.url });
  keks = createKekClient(kek.as('worker'));
}
