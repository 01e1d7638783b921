import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { createKekClient } from '@cardea/http/client/kek-client';
import { createClient } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createFileStore } from '../src/keyring/file-store.ts';
import { startRecordingAuditService } from './recording-audit-service.ts';
import { startTestKek } from './test-kek.ts';

const KILLS = 6;
const ref = { vaultId: uuidv7(0), dekVersion: 1 };

let folder: string;
let audit: Awaited<ReturnType<typeof startRecordingAuditService>>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-kek-'));
  await ensureCertificates(folder, new Date());
  audit = await startRecordingAuditService(folder);
});

afterEach(async () => {
  await audit.drain(0);
  await rm(folder, { recursive: true, force: true });
});

test('kill -9 at any moment of a rotation loses no acknowledged KEK and no record, and the keyring opens', async () => {
  const acknowledged = new Map<string, number>();
  const dek = randomKey();
  const wrapped: Awaited<ReturnType<ReturnType<typeof createKekClient>['wrap']>>[] = [];
  for (let round = 0; round < KILLS; round += 1) {
    const { child, url } = await startProcess();
    const client = createClient({ url, peer: 'kek-service', identity: readTlsIdentity(folder, 'worker') });
    const keks = createKekClient(client);
    for (const [requestId, version] of acknowledged) expect(await keks.rotate(requestId)).toBe(version);
    for (const one of wrapped) expect(Buffer.from(await keks.unwrap(ref, one))).toEqual(Buffer.from(dek));
    wrapped.push(await keks.wrap(ref, dek));

    const oneHasEnded = Promise.withResolvers<void>();
    const rotating = (async () => {
      while (child.exitCode === null && child.signalCode === null) {
        const requestId = randomUUID();
        await keks.rotate(requestId).then(
          (version) => acknowledged.set(requestId, version),
          () => undefined,
        );
        if (acknowledged.has(requestId)) oneHasEnded.resolve();
      }
    })();
    // Anywhere within a few rotations: the moment itself is by chance. Every second time one has ended before, however slow
    // the machine is.
    if (round % 2 === 0) await oneHasEnded.promise;
    await sleep(5 + Math.random() * 60);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await rotating;
    await client.close();
  }

  const kek = await startTestKek({ dataDir: folder, tlsDir: folder, auditUrl: audit.url });
  const versions = await createKekClient(kek.as('worker')).list();
  await kek.stop();
  const { document } = await createFileStore(join(folder, 'kek')).read();
  for (const [requestId, version] of acknowledged) {
    expect(versions.find((one) => one.requestId === requestId)?.version).toBe(version);
  }
  expect(versions.length).toBeGreaterThan(KILLS / 2);
  // Every version and every generation, acknowledged or not, has its record.
  const recorded = new Set(
    audit.events.map(({ action, kekVersion, resource }) => `${action} ${kekVersion ?? resource?.version}`),
  );
  for (const { version, requestId } of versions) if (requestId) expect(recorded).toContain(`kek.rotate ${version}`);
  for (let generation = 1; generation <= document.generation; generation += 1) {
    expect(recorded).toContain(`keyring.replace ${generation}`);
  }
});

describe('a keyring', () => {
  test('that was put back from before a replacement is refused: the highest generation is remembered', async () => {
    await useKeyring();
    const old = await readFile(join(folder, 'kek', 'keyring.json'));
    await useKeyring((keks) => keks.rotate(randomUUID()));
    await writeFile(join(folder, 'kek', 'keyring.json'), old);
    await expect(useKeyring()).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringMatching(/of generation 1, and there was a newer one, of generation 2: put that one back/),
    });
  });

  test('that was put back as a whole folder opens, and the audit log shows the newer generation', async () => {
    await useKeyring();
    await cp(join(folder, 'kek'), join(folder, 'backup'), { recursive: true });
    await useKeyring((keks) => keks.rotate(randomUUID()));
    await rm(join(folder, 'kek'), { recursive: true, force: true });
    await cp(join(folder, 'backup'), join(folder, 'kek'), { recursive: true });
    await useKeyring();
    const generations = audit.events.filter(({ action }) => action === 'keyring.replace');
    expect(generations.map(({ resource }) => resource?.version)).toEqual([1, 2]);
  });

  test('whose remembered generation is missing or damaged is not taken for the newest', async () => {
    await useKeyring();
    const path = join(folder, 'kek', 'generation.json');
    await writeFile(path, '{"highest":0}');
    await expect(useKeyring()).rejects.toMatchObject({
      message: expect.stringContaining('generation.json is damaged'),
    });
    await rm(path);
    await expect(useKeyring()).rejects.toMatchObject({
      message: expect.stringContaining('generation.json is missing'),
    });
  });

  // The states that a crash leaves between the steps of a replacement.
  test('that was killed between its two files is the new one, and remembers its generation', async () => {
    await useKeyring();
    const generation = await readFile(join(folder, 'kek', 'generation.json'));
    await useKeyring((keks) => keks.rotate(randomUUID()));
    await writeFile(join(folder, 'kek', 'generation.json'), generation);
    audit.events.length = 0;
    await useKeyring(async (keks) => {
      expect((await keks.list()).map(({ version }) => version)).toEqual([1, 2]);
    });
    // The log may not have had them: they are sent again, with the same ids.
    expect(audit.events.map(({ action }) => action)).toEqual(['kek.rotate', 'keyring.replace']);
    expect(JSON.parse(await readFile(join(folder, 'kek', 'generation.json'), 'utf8'))).toEqual({
      highest: 2,
      recorded: 2,
    });
    expect((await readdir(join(folder, 'kek'))).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('that another process has replaced meanwhile is not replaced over it', async () => {
    const store = createFileStore(join(folder, 'kek'));
    await useKeyring(async (keks) => {
      const { document } = await store.read();
      await store.replace(1, { ...document, generation: 2 });
      await expect(keks.rotate(randomUUID())).rejects.toMatchObject({
        code: 'conflict',
        message: 'kek-service: the keyring is of generation 2, not 1',
      });
      expect((await store.read()).document.generation).toBe(2);
    });
  });
});

async function useKeyring(
  work: (keks: ReturnType<typeof createKekClient>) => Promise<unknown> = async () => undefined,
): Promise<void> {
  const kek = await startTestKek({ dataDir: folder, tlsDir: folder, auditUrl: audit.url });
  try {
    await work(createKekClient(kek.as('worker')));
  } finally {
    await kek.stop();
  }
}

async function startProcess(): Promise<{ child: ChildProcess; url: string }> {
  const main = new URL('../src/main.ts', import.meta.url).pathname;
  const child = fork(main, {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: {
      ...process.env,
      CARDEA_DATA_DIR: folder,
      CARDEA_TLS_DIR: folder,
      CARDEA_KEK_PORT: '0',
      CARDEA_OPS_PORT: '0',
      CARDEA_LOG_LEVEL: 'none',
      CARDEA_AUDIT_URL: audit.url,
    },
  });
  const [message] = (await once(child, 'message')) as [{ url: string }];
  return { child, url: message.url };
}
