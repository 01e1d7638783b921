import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { uuidv7 } from '@cardea/crypto/ids';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createFileStore, writeFirstKeyring } from './file-store.ts';
import type { KeyringDocument } from './format.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-keyring-'));
  await writeFirstKeyring(folder, documentOf(1));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

test('records that were sent twice at the same time are noted, and nothing is left beside the files', async () => {
  const store = createFileStore(folder);
  await Promise.all(Array.from({ length: 20 }, () => store.markRecorded(1)));
  expect(await store.read()).toMatchObject({ isRecorded: true });
  expect(await generations()).toEqual({ highest: 1, recorded: 1 });
});

test('a replacement while records of the last one are noted loses neither its generation nor the note', async () => {
  const store = createFileStore(folder);
  for (let generation = 1; generation < 10; generation += 1) {
    await Promise.all([
      store.markRecorded(generation),
      store.replace(generation, documentOf(generation + 1)),
      store.markRecorded(generation),
    ]);
    expect(await generations()).toEqual({ highest: generation + 1, recorded: generation });
  }
  expect(await store.read()).toMatchObject({ document: { generation: 10 }, isRecorded: false });
});

test('a replacement that is refused does not hold up the next one', async () => {
  const store = createFileStore(folder);
  await expect(store.replace(7, documentOf(8))).rejects.toMatchObject({ code: 'conflict' });
  await store.replace(1, documentOf(2));
  expect(await store.read()).toMatchObject({ document: { generation: 2 } });
});

async function generations(): Promise<unknown> {
  return JSON.parse(await readFile(join(folder, 'generation.json'), 'utf8'));
}

/** A document of a generation. A store looks at nothing else in it. */
function documentOf(generation: number): KeyringDocument {
  const createdAt = '2026-11-22T06:27:31.000Z';
  const [base64, id] = [Buffer.alloc(32).toString('base64'), uuidv7(0)];
  return {
    format: 1,
    generation,
    seals: [{ type: 'file', id, createdAt, wrappedRootKeyBase64: base64 }],
    keks: [{ version: 1, state: 'enabled', createdAt, wrappedKeyBase64: base64 }],
    records: [
      {
        action: 'keyring.replace',
        actor: { id: 'kek-service', type: 'service' },
        decision: 'allow',
        id,
        ts: '2026-11-22T06:27:31.000000Z',
      },
    ],
    mac: base64,
  };
}
