import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEKS_AT_ONCE_MAX } from '@cardea/contracts/kek-api';
import type { WrappedDek } from '@cardea/contracts/keks';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { createKekClient } from '@cardea/http/client/kek-client';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestKek } from './test-kek.ts';
import type { TestKek } from './test-kek.ts';

// Two DEKs of one vault, and one of another.
const [vaultId, otherVaultId] = [uuidv7(0), uuidv7(0)];
const refs = [
  { vaultId, dekVersion: 1 },
  { vaultId, dekVersion: 2 },
  { vaultId: otherVaultId, dekVersion: 1 },
];
const deks = refs.map(() => randomKey());

let folder: string;
let kek: TestKek;
/** The DEKs as wrapped under the first KEK. */
let wrapped: WrappedDek[];

const keks = () => createKekClient(kek.as('worker'));
const each = () => refs.map((ref, index) => ({ ref, wrapped: wrapped[index]! }));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-kek-'));
  await ensureCertificates(folder, new Date());
  const config = { dataDir: folder, tlsDir: folder };
  kek = await startTestKek(config);
  wrapped = await Promise.all(refs.map((ref, index) => keks().wrap(ref, deks[index]!)));
  expect(await keks().rotate(randomUUID())).toBe(2);
});

afterAll(async () => {
  await kek.stop();
  await rm(folder, { recursive: true, force: true });
});

describe('DEKs rewrapped through the client', () => {
  test('are the same DEKs under the newest KEK, in the same order', async () => {
    expect(wrapped.map(({ kekVersion }) => kekVersion)).toEqual([1, 1, 1]);
    const rewrapped = await keks().rewrap(each());
    expect(rewrapped.map(({ kekVersion }) => kekVersion)).toEqual([2, 2, 2]);
    for (const [index, ref] of refs.entries()) {
      expect(Buffer.from(await keks().unwrap(ref, rewrapped[index]!))).toEqual(Buffer.from(deks[index]!));
    }
  });

  test('come back wrapped, never in clear', async () => {
    for (const [index, item] of (await keks().rewrap(each())).entries()) {
      expect(Object.keys(item).toSorted()).toEqual(['bytes', 'kekVersion']);
      expect(item.bytes).toHaveLength(32 + 45);
      expect(Buffer.from(item.bytes).includes(Buffer.from(deks[index]!))).toBe(false);
    }
  });

  test('are all refused if one does not belong to its vault, and the failure counts as damage', async () => {
    const [first, second, third] = each();
    const asked = keks().rewrap([first!, { ref: second!.ref, wrapped: third!.wrapped }, third!]);
    await expect(asked).rejects.toMatchObject({
      code: 'internal',
      message: 'a DEK could not be rewrapped',
      suspicious: 'integrity_failure',
    });
    expect(kek.lines).toContainEqual(expect.objectContaining({ level: 'error', message: 'integrity_failure' }));
  });

  test('may be none, or as many as one call takes; more are never sent', async () => {
    expect(await keks().rewrap([])).toEqual([]);
    const most = Array.from({ length: DEKS_AT_ONCE_MAX }, () => each()[0]!);
    expect(await keks().rewrap(most)).toHaveLength(DEKS_AT_ONCE_MAX);
    await expect(keks().rewrap([...most, most[0]!])).rejects.toThrow(RangeError);
  });

  test('fail as unavailable while kek-service does not answer', async () => {
    const client = keks();
    const asked = each();
    await kek.stop();
    await expect(client.rewrap(asked)).rejects.toMatchObject({ code: 'unavailable' });
    kek = await startTestKek({ dataDir: folder, tlsDir: folder });
  });
});
