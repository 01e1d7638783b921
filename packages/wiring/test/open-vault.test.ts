import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '@cardea/contracts/errors';
import { createPasswordHasher } from '@cardea/crypto/password';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { readTlsIdentity } from '@cardea/http/mtls';
import type { Logger } from '@cardea/process/logger';
import { openSqlite } from '@cardea/storage/sqlite';
import type { VaultContext } from '@cardea/vault/context';
import { jobHandlers } from '@cardea/vault/jobs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { openVault } from '../src/open-vault.ts';
import type { OpenVault } from '../src/open-vault.ts';
import type { VaultConfig } from '../src/vault-config.ts';

const passwords = createPasswordHasher({ memoryKib: 8, passes: 1, parallelism: 1 }, { concurrent: 1, queued: 0 });
const ID = '01900000-0000-7000-8000-000000000001';
// Only intervals run by the clock of a test.
const allButIntervals = [
  ...(['Date', 'hrtime', 'performance', 'nextTick', 'queueMicrotask'] as const),
  ...(['setImmediate', 'clearImmediate', 'setTimeout', 'clearTimeout'] as const),
];
let tlsDir: string;
let folder: string;
let database: string;
let lines: [level: string, message: string, fields: { job?: string; code?: string }][];
let opened: OpenVault | undefined;

beforeAll(async () => {
  tlsDir = await mkdtemp(join(tmpdir(), 'cardea-tls-'));
  await ensureCertificates(tlsDir, new Date());
});

afterAll(() => rm(tlsDir, { recursive: true }));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-wiring-'));
  database = join(folder, 'cardea.db');
  lines = [];
});

afterEach(async () => {
  jest.useRealTimers();
  await opened?.close();
  opened = undefined;
  await rm(folder, { recursive: true });
});

const at = (level: string) => (message: string, fields: object) => lines.push([level, message, fields]);
const logger = { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') } as unknown as Logger;

/** Opens without kek-service and audit-service: nothing listens on port 1. */
async function open(config: Partial<VaultConfig> = {}): Promise<OpenVault> {
  const nowhere = 'https://127.0.0.1:1';
  const identity = readTlsIdentity(tlsDir, 'worker');
  opened = await openVault(
    {
      tlsDir,
      kekUrl: nowhere,
      auditUrl: nowhere,
      database,
      redis: undefined,
      allowFsyncOff: false,
      vaultSettings: {
        expiryLeadsMs: [],
        trashMs: 0,
        dekRotationMs: 0,
        kekRotationMs: 0,
        vaultsMadePerUser: 1,
        secretsPerVault: 1,
        secretBytesMax: 1,
        keysPerVault: 1,
        webhooks: [],
      },
      ...config,
    },
    { identity, logger, registry: new Registry(), passwords, now: () => new Date() },
  );
  return opened;
}

async function close(): Promise<void> {
  const closing = opened!.close();
  opened = undefined;
  await closing;
}

/** Adds an event that the audit log has acknowledged and whose row still exists. */
async function acknowledge({ db, outbox }: VaultContext): Promise<void> {
  await db.query(`insert into outbox (id, event, created_at) values ($1, '{}', 0)`, [ID]);
  outbox.acknowledge(ID);
}

async function outboxRows(): Promise<number> {
  const db = openSqlite(database);
  try {
    return (await db.query(`select id from outbox`)).length;
  } finally {
    await db.close();
  }
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 30_000;
  while (!(await isSo())) {
    if (performance.now() > giveUpAt) throw new Error('it has not come true');
    await sleep(5);
  }
}

/** Whether another process can open the database. */
async function isFree(): Promise<boolean> {
  const program = `import { ownSqliteFile } from '${import.meta.resolve('@cardea/storage/sqlite-ownership')}';
    await ownSqliteFile('${database}', 0).catch(() => process.exit(1));`;
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program];
  const [code] = (await once(spawn(process.execPath, flags, { stdio: 'ignore' }), 'exit')) as [number];
  return code === 0;
}

/** A job that throws `error` at its first attempt. */
async function fail(error: Error): Promise<void> {
  const { queue, vault } = await open();
  const handler = async () => {
    throw error;
  };
  await queue.work({ ...jobHandlers(vault), 'event.sweep': handler });
  await queue.add('event.sweep', {});
  await until(() => lines.length > 0);
}

describe('a job that fails', () => {
  test.each(['sealed', 'unavailable'] as const)(
    'because something is %s waits, and is logged as a warning',
    async (code) => {
      await fail(new AppError(code, 'not now'));
      expect(lines[0]).toEqual(['warn', 'job waits', { job: 'event.sweep', attempt: 1, code }]);
    },
  );

  test('for another reason is logged as an error', async () => {
    const error = new AppError('internal', 'it does not open');
    await fail(error);
    expect(lines[0]).toEqual(['error', 'job failed', { job: 'event.sweep', attempt: 1, error }]);
  });
});

describe('an open vault', () => {
  test('removes outbox rows within a second, and stores the last readers within ten', async () => {
    jest.useFakeTimers({ doNotFake: allButIntervals });
    const { vault } = await open();
    await acknowledge(vault);
    vault.lastReads.note({ secretId: ID, version: 1, at: 0, by: `user:${ID}` });
    jest.advanceTimersByTime(1_000);
    await until(async () => (await outboxRows()) === 0);
    expect(vault.lastReads.of(ID)).toHaveLength(1);
    jest.advanceTimersByTime(9_000);
    await until(() => vault.lastReads.of(ID).length === 0);
    expect(lines).toEqual([]);
  });

  test('lets a running job use the database before it closes it, and stores what memory has', async () => {
    const { queue, vault } = await open();
    const [begun, going] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const handler = async () => {
      begun.resolve();
      await going.promise;
      await acknowledge(vault);
      vault.lastReads.note({ secretId: ID, version: 1, at: 0, by: `user:${ID}` });
    };
    await queue.work({ ...jobHandlers(vault), 'event.sweep': handler });
    await queue.add('event.sweep', {});
    await begun.promise;
    const closing = close();
    going.resolve();
    await closing;
    expect([lines, vault.lastReads.of(ID), await outboxRows()]).toEqual([[], [], 0]);
    await expect(vault.db.ping()).rejects.toThrow();
  });

  test('keeps other processes out until it is closed', async () => {
    await open();
    expect(await isFree()).toBe(false);
    await close();
    expect([await isFree(), existsSync(`${database}-wal`)]).toEqual([true, false]);
  });
});

test('opening that fails half way closes the database again', async () => {
  await expect(open({ redis: { url: 'http://127.0.0.1' } })).rejects.toThrow('a Redis URL must begin with');
  expect(existsSync(database)).toBe(true);
  expect([await isFree(), existsSync(`${database}-wal`)]).toEqual([true, false]);
});
