import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unwrapDeks, wrapDeks } from '@cardea/contracts/kek-api';
import { addSeal, listSeals, removeSeal, seal, sealStatus, unseal } from '@cardea/contracts/seal-api';
import type { NewSeal, SealRequest } from '@cardea/contracts/seal-api';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startRecordingAuditService } from './recording-audit-service.ts';
import { startTestKek } from './test-kek.ts';
import type { TestKek } from './test-kek.ts';

const ref = { vaultId: uuidv7(0), dekVersion: 1 };
const dekBase64 = Buffer.from(randomKey()).toString('base64');
const passphrase = 'correct horse battery staple';

let folder: string;
let audit: Awaited<ReturnType<typeof startRecordingAuditService>>;
let kek: TestKek;
let wrapped: { wrappedDekBase64: string; kekVersion: number };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-kek-'));
  await ensureCertificates(folder, new Date());
  audit = await startRecordingAuditService(folder);
  await start();
  wrapped = (await kek.as('worker').call(wrapDeks, { body: { items: [{ ...ref, dekBase64 }] } })).items[0]!;
  audit.events.length = 0;
});

afterEach(async () => {
  await kek.stop();
  await audit.drain(0);
  await rm(folder, { recursive: true, force: true });
});

describe('a seal by shares', () => {
  test('opens with any 3 of 5 in any order, and shows its progress until then', async () => {
    const { id, shareTexts: shares = [] } = await add({ type: 'shamir', shares: 5, threshold: 3 });
    expect(shares).toHaveLength(5);
    for (const chosen of [
      [0, 1, 2],
      [4, 2, 0],
      [3, 1, 4],
    ]) {
      await kek.as('operator').call(seal, { body: {} });
      const [first, second, third] = chosen.map((at) => shares[at]!);
      expect(await give(first!)).toEqual({ sealed: true, progress: { sealId: id, needed: 3, given: 1 } });
      // The same share again counts once.
      expect(await give(first!)).toEqual({ sealed: true, progress: { sealId: id, needed: 3, given: 1 } });
      expect(await give(second!)).toEqual({ sealed: true, progress: { sealId: id, needed: 3, given: 2 } });
      expect((await status()).progress).toEqual([{ sealId: id, needed: 3, given: 2 }]);
      await expectSealed();
      // As somebody types it from paper.
      const typed = third!.toUpperCase().replace(/(.{20})/g, '$1\n ');
      expect(await give(typed)).toEqual({ sealed: false, progress: { sealId: id, needed: 3, given: 3 } });
      expect((await status()).progress).toEqual([]);
      await expectOpen();
    }
    const opened = { action: 'seal.open', decision: 'allow', actor: { id: 'operator' }, resource: { name: id } };
    expect(audit.events.filter(({ action }) => action === 'seal.open')).toMatchObject([opened, opened, opened]);
  });

  test('stays closed with 2 of 3, however they are given', async () => {
    const { shareTexts: shares = [] } = await add({ type: 'shamir', shares: 5, threshold: 3 });
    await kek.as('operator').call(seal, { body: {} });
    for (const share of [shares[0]!, shares[1]!, shares[0]!, shares[1]!]) await give(share);
    await expectSealed();
    // Closing it forgets what was given.
    await kek.as('operator').call(seal, { body: {} });
    expect((await status()).progress).toEqual([]);
    await give(shares[2]!);
    expect((await status()).progress).toMatchObject([{ given: 1 }]);
    // So does an hour without another share.
    kek.clock.now += 3_600_001;
    expect((await status()).progress).toEqual([]);
  });

  test('is forgotten after an hour, also if the clock is set back meanwhile', async () => {
    const { shareTexts: shares = [] } = await add({ type: 'shamir', shares: 3, threshold: 2 });
    await kek.as('operator').call(seal, { body: {} });
    await give(shares[0]!);
    kek.clock.now -= 7_200_000;
    expect((await status()).progress).toMatchObject([{ given: 1 }]);
    kek.clock.now += 3_600_001;
    expect((await status()).progress).toEqual([]);
    await give(shares[1]!);
    await expectSealed();
  });

  test('names a wrong share, says nothing of the others, records it, and makes the next attempt wait', async () => {
    const { shareTexts: shares = [] } = await add({ type: 'shamir', shares: 3, threshold: 2 });
    const { shareTexts: others = [] } = await add({ type: 'shamir', shares: 3, threshold: 2 });
    await kek.as('operator').call(seal, { body: {} });
    await give(shares[0]!);
    audit.events.length = 0;

    // A forged share: its checksum is right, its bytes are those of another set.
    const forged = await forge(shares[1]!, others[1]!);
    await expect(give(forged)).rejects.toMatchObject({
      code: 'access_denied',
      message: expect.stringMatching(/^kek-service: share 2 of set [0-9a-f]{16} is not as it was given out$/),
    });
    await expect(give(shares[1]!)).rejects.toMatchObject({ code: 'rate_limited' });
    expect(audit.events).toMatchObject([
      { action: 'seal.open', decision: 'deny', suspicious: 'wrong_share' },
      { action: 'seal.open', decision: 'deny', suspicious: 'unseal_guessing' },
    ]);
    expect((await status()).progress).toMatchObject([{ given: 1 }]);
    kek.clock.now += 1_000;
    expect(await give(shares[1]!)).toMatchObject({ sealed: false });
    for (const share of [...shares, ...others, forged]) {
      expect(JSON.stringify([audit.events, kek.lines])).not.toContain(share.split('-')[4]);
    }
  });

  test('that was typed wrong is told so at once, and the next attempt need not wait', async () => {
    const { shareTexts: shares = [] } = await add({ type: 'shamir', shares: 3, threshold: 2 });
    await kek.as('operator').call(seal, { body: {} });
    const share = shares[0]!;
    const mistyped = share.slice(0, 60) + (share[60] === '0' ? '1' : '0') + share.slice(61);
    const typo = { code: 'invalid_request', message: expect.stringContaining('typing error') };
    await expect(give(mistyped)).rejects.toMatchObject(typo);
    await expect(give('cs1-not-a-share')).rejects.toMatchObject({ code: 'invalid_request' });
    expect(await give(share)).toMatchObject({ progress: { given: 1 } });
  });

  test('is re-shared online: the new shares open it, and the old ones do not once their seal is removed', async () => {
    const old = await add({ type: 'shamir', shares: 3, threshold: 2 });
    const fresh = await add({ type: 'shamir', shares: 5, threshold: 3 });
    await kek.as('api-service').call(removeSeal, { params: { id: old.id } });
    await kek.as('operator').call(seal, { body: {} });
    await expect(give(old.shareTexts![0]!)).rejects.toMatchObject({ code: 'access_denied' });
    kek.clock.now += 1_000;
    for (const share of fresh.shareTexts!.slice(2)) await give(share);
    await expectOpen();
  });

  test('shows its shares once: neither the list nor the keyring nor a log line nor a record has them', async () => {
    const made = await add({ type: 'shamir', shares: 3, threshold: 2 });
    const listed = await kek.as('api-service').call(listSeals, {});
    expect(listed.items[1]).toEqual({
      id: made.id,
      type: 'shamir',
      createdAt: '2026-11-22T06:27:31.000Z',
      shares: 3,
      threshold: 2,
    });
    const keyring = await readFile(join(folder, 'kek', 'keyring.json'), 'utf8');
    for (const share of made.shareTexts!) {
      const secret = share.split('-')[4]!;
      const places = [keyring, JSON.stringify([listed, audit.events, kek.lines])];
      const spellings = [secret, Buffer.from(secret, 'hex').toString('base64'), secret.slice(0, 32)];
      for (const place of places) for (const spelling of spellings) expect(place).not.toContain(spelling);
    }
  });

  test('needs 2 shares at least, and no more than there are', async () => {
    const wrong = [
      { shares: 3, threshold: 1 },
      { shares: 1, threshold: 1 },
      { shares: 3, threshold: 4 },
      { shares: 65, threshold: 2 },
    ];
    for (const split of wrong) {
      await expect(add({ type: 'shamir', ...split })).rejects.toMatchObject({ code: 'invalid_request' });
    }
  });
});

describe('a keyring with several seals', () => {
  test('opens by any one of them', async () => {
    await add({ type: 'passphrase', passphrase });
    await add({ type: 'passphrase', passphrase: 'another good passphrase' });
    const { shareTexts: shares = [] } = await add({ type: 'shamir', shares: 2, threshold: 2 });
    for (const [guess, waitMs] of [
      [passphrase, 0],
      ['another good passphrase', 0],
    ] as const) {
      kek.clock.now += waitMs;
      await kek.as('operator').call(seal, { body: {} });
      expect(await kek.as('operator').call(unseal, { body: { passphrase: guess } })).toEqual({ sealed: false });
      await expectOpen();
    }
    await kek.as('operator').call(seal, { body: {} });
    for (const share of shares) await give(share);
    await expectOpen();
    await kek.stop();
    await start();
    await expectOpen();
  });

  test('records each seal that is added or removed, with the new generation, and keeps the KEKs', async () => {
    const { id } = await add({ type: 'passphrase', passphrase });
    await kek.as('operator').call(unseal, { body: { passphrase } });
    await kek.as('api-service').call(removeSeal, { params: { id: await idOf('file') } });
    expect(audit.events).toMatchObject([
      { action: 'seal.add', decision: 'allow', reason: 'passphrase', resource: { name: id } },
      {
        action: 'keyring.replace',
        resource: { version: 2 },
        ciphertextSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
      { action: 'seal.prove', decision: 'allow', resource: { name: id } },
      { action: 'seal.remove', decision: 'allow', reason: 'file' },
      { action: 'keyring.replace', resource: { version: 3 } },
    ]);
    expect((await readdir(join(folder, 'kek'))).sort()).toEqual(['generation.json', 'keyring.json']);
    await expectOpen();
    expect(JSON.stringify([audit.events, kek.lines])).not.toContain(passphrase);

    await kek.stop();
    await start();
    await expectSealed();
    await kek.as('operator').call(unseal, { body: { passphrase } });
    await expectOpen();
  });

  test('keeps its last seal, and that is recorded', async () => {
    const id = await idOf('file');
    await expect(kek.as('api-service').call(removeSeal, { params: { id } })).rejects.toMatchObject({
      code: 'conflict',
      message: 'kek-service: a keyring keeps one seal',
    });
    expect(audit.events).toMatchObject([{ action: 'seal.remove', decision: 'deny', rule: 'last-seal' }]);
    const unknown = kek.as('api-service').call(removeSeal, { params: { id: randomUUID() } });
    await expect(unknown).rejects.toMatchObject({ code: 'not_found' });
  });

  test('cannot be locked up by a thief of api-service’s certificate, who adds a seal of their own', async () => {
    await add({ type: 'passphrase', passphrase: 'only the thief knows this' });
    audit.events.length = 0;
    const removed = kek.as('api-service').call(removeSeal, { params: { id: await idOf('file') } });
    await expect(removed).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('prove one') });
    expect(audit.events).toMatchObject([{ action: 'seal.remove', decision: 'deny', rule: 'last-seal' }]);
    const proven = kek.as('api-service').call(unseal, { body: { passphrase: 'only the thief knows this' } });
    await expect(proven).rejects.toMatchObject({ code: 'access_denied' });
    await kek.stop();
    await start();
    await expectOpen();
  });

  test('has one seal by a file at most, and a second one does not touch the key of the first', async () => {
    await expect(add({ type: 'file' })).rejects.toMatchObject({ code: 'conflict' });
    await kek.stop();
    await start();
    await expectOpen();
  });

  test('gets back a seal by a file, with a new key', async () => {
    const before = await readFile(join(folder, 'kek', 'seal-key'), 'utf8');
    await add({ type: 'passphrase', passphrase });
    await kek.as('operator').call(unseal, { body: { passphrase } });
    await kek.as('api-service').call(removeSeal, { params: { id: await idOf('file') } });
    // As a crash between a new key and the new keyring leaves it.
    await writeFile(join(folder, 'kek', 'seal-key'), before, { mode: 0o400 });
    await add({ type: 'file' });
    expect(await readFile(join(folder, 'kek', 'seal-key'), 'utf8')).not.toBe(before);
    await kek.stop();
    await start();
    await expectOpen();
  });

  test('keeps one of two seals that are removed at once', async () => {
    await add({ type: 'passphrase', passphrase });
    await kek.as('operator').call(unseal, { body: { passphrase } });
    const ids = (await status()).seals.map(({ id }) => id);
    const removed = await Promise.allSettled(
      ids.map((id) => kek.as('api-service').call(removeSeal, { params: { id } })),
    );
    expect(removed.map(({ status: outcome }) => outcome).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(removed.find(({ status: outcome }) => outcome === 'rejected')).toMatchObject({
      reason: { code: 'conflict', message: 'kek-service: a keyring keeps one seal' },
    });
    expect((await status()).seals).toHaveLength(1);
  });

  test('opens by a seal key that was added while the one before it was removed', async () => {
    await add({ type: 'passphrase', passphrase });
    await kek.as('operator').call(unseal, { body: { passphrase } });
    for (let turn = 0; turn < 10; turn += 1) {
      const id = await idOf('file');
      await Promise.all([kek.as('api-service').call(removeSeal, { params: { id } }), add({ type: 'file' })]);
    }
    await kek.stop();
    await start();
    await expectOpen();
  });

  test('loses the key of a removed seal by a file, also if the audit log goes away meanwhile', async () => {
    await add({ type: 'passphrase', passphrase });
    await kek.as('operator').call(unseal, { body: { passphrase } });
    const id = await idOf('file');
    await audit.drain(0);
    const removed = kek.as('api-service').call(removeSeal, { params: { id }, timeoutMs: 20_000 });
    await expect(removed).rejects.toMatchObject({ code: 'unavailable' });
    expect((await status()).seals.map(({ type }) => type)).toEqual(['passphrase']);
    expect(await readdir(join(folder, 'kek'))).not.toContain('seal-key');
  });

  test('is changed only while it is open', async () => {
    await kek.as('operator').call(seal, { body: {} });
    await expect(add({ type: 'passphrase', passphrase })).rejects.toMatchObject({ code: 'sealed' });
    const id = await idOf('file');
    await expect(kek.as('api-service').call(removeSeal, { params: { id } })).rejects.toMatchObject({ code: 'sealed' });
  });

  test('takes no id twice', async () => {
    const id = randomUUID();
    await add({ type: 'passphrase', passphrase }, id);
    await expect(add({ type: 'passphrase', passphrase }, id)).rejects.toMatchObject({ code: 'conflict' });
  });

  test('that has shares starts sealed when its seal key is lost, and the shares open it', async () => {
    const { shareTexts: shares = [] } = await add({ type: 'shamir', shares: 2, threshold: 2 });
    await kek.stop();
    await rm(join(folder, 'kek', 'seal-key'), { force: true });
    await start();
    await expectSealed();
    expect(kek.lines).toContainEqual(
      expect.objectContaining({ level: 'error', message: 'a seal does not open the keyring' }),
    );
    for (const share of shares) await give(share);
    await expectOpen();
  });
});

async function start(): Promise<void> {
  kek = await startTestKek({ dataDir: folder, tlsDir: folder, auditUrl: audit.url });
}

function add(request: SealRequest, id: string = randomUUID()): Promise<NewSeal> {
  return kek.as('api-service').call(addSeal, { body: { id, seal: request } });
}

const give = (share: string) => kek.as('operator').call(unseal, { body: { share } });
const status = () => kek.as('operator').call(sealStatus, {});

async function idOf(type: string): Promise<string> {
  return (await status()).seals.find((one) => one.type === type)!.id;
}

async function expectOpen(): Promise<void> {
  const { items } = await kek.as('worker').call(unwrapDeks, { body: { items: [{ ...ref, ...wrapped }] } });
  expect(items).toEqual([{ dekBase64 }]);
}

async function expectSealed(): Promise<void> {
  const asked = kek.as('worker').call(unwrapDeks, { body: { items: [{ ...ref, ...wrapped }] } });
  await expect(asked).rejects.toMatchObject({ code: 'sealed' });
}

/** The place of one share with the bytes of another, and a checksum that fits. */
async function forge(place: string, bytes: string): Promise<string> {
  const text = [...place.split('-').slice(0, 4), bytes.split('-')[4]].join('-');
  const digest = await crypto.subtle.digest('SHA-256', Buffer.from(text));
  return `${text}-${Buffer.from(digest).toString('hex').slice(0, 8)}`;
}
