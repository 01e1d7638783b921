import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { EntryPage, appendEvents, listEntries } from '@cardea/contracts/audit-api';
import { formatWebhookSecret, isSignedBy } from '@cardea/crypto/webhook-signature';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { createClient } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import { openSqlite } from '@cardea/storage/sqlite';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { readAuditConfig } from '../src/config.ts';
import { createFileSink } from '../src/sinks/file-sink.ts';
import { startAuditService } from '../src/start.ts';
import { auditDatabase, engines } from './audit-database.ts';
import type { AuditDatabase } from './audit-database.ts';
import { appendBody, someEvents } from './test-log.ts';

const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
const KEY = new Uint8Array(32).fill(42);
const DEADLINE_MS = 60_000;
let tlsDir: string;
let dataDir: string;
let sinksFile: string;

beforeAll(async () => {
  tlsDir = mkdtempSync(join(tmpdir(), 'cardea-tls-'));
  await ensureCertificates(tlsDir, new Date());
});

afterAll(() => rmSync(tlsDir, { recursive: true }));

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'cardea-sinks-'));
  sinksFile = join(dataDir, 'sinks.json');
  writeFileSync(join(dataDir, 'secret'), formatWebhookSecret(KEY), { mode: 0o600 });
});

afterEach(() => rmSync(dataDir, { recursive: true }));

const fileSink = (changes: object = {}) => ({ name: 'archive', type: 'file', path: archive(), ...changes });
const archive = () => join(dataDir, 'audit.jsonl');

const httpsSink = (url: string, changes: object = {}) => ({
  name: 'siem',
  type: 'https',
  url,
  secretFile: join(dataDir, 'secret'),
  caFile: join(tlsDir, 'ca.pem'),
  allowNetworks: ['127.0.0.0/8'],
  ...changes,
});

function configure(...sinks: object[]): void {
  writeFileSync(sinksFile, JSON.stringify({ sinks }));
}

function environment(settings: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return {
    CARDEA_DATA_DIR: dataDir,
    CARDEA_TLS_DIR: tlsDir,
    CARDEA_LOG_LEVEL: 'none',
    CARDEA_OPS_PORT: '0',
    CARDEA_AUDIT_PORT: '0',
    CARDEA_AUDIT_SINKS_FILE: sinksFile,
    ...settings,
  };
}

function connect(url: string) {
  return createClient({ url, peer: 'audit-service', identity: readTlsIdentity(tlsDir, 'api-service') });
}

async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`not within a minute: ${String(isSo)}`);
    await pause(20);
  }
}

/** The numbers of the entries in a file, in the order of its lines. */
function seqsIn(path: string): number[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => (JSON.parse(line) as { seq: number }).seq);
}

const upTo = (size: number) => Array.from({ length: size }, (_, seq) => seq);

describe.each(engines)('sinks on %s', (engine) => {
  let database: AuditDatabase | undefined;
  let service: Awaited<ReturnType<typeof startAuditService>>;
  let client: ReturnType<typeof connect>;
  let receiver: Server;
  let receiverUrl: string;
  let got: { body: string; isSigned: boolean; first: number }[];
  let answer: number | 'never';

  beforeEach(async () => {
    database = engine === 'postgres' ? await auditDatabase('postgres') : undefined;
    [got, answer] = [[], 204];
    const [cert, key] = ['pem', 'key'].map((end) => readFileSync(join(tlsDir, `audit-service.${end}`)));
    receiver = createServer({ cert, key }, (req, res) => void take(req, res)).listen(0, '127.0.0.1');
    await once(receiver, 'listening');
    receiverUrl = `https://127.0.0.1:${(receiver.address() as AddressInfo).port}/audit`;
  });

  afterEach(async () => {
    await stop();
    receiver.closeAllConnections();
    receiver.close();
    await database?.remove();
  });

  async function take(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = await text(req);
    const header = (name: string) => String(req.headers[name]);
    const message = { id: header('webhook-id'), timestampSeconds: Number(header('webhook-timestamp')), body };
    const isSigned = isSignedBy(KEY, message, header('webhook-signature'));
    got.push({ body, isSigned, first: Number(header('cardea-first-seq')) });
    if (answer !== 'never') res.writeHead(answer).end();
  }

  async function start(): Promise<void> {
    const full = database
      ? { CARDEA_PROFILE: 'full', CARDEA_DATABASE_URL: database.url!.href, CARDEA_TEST_ALLOW_FSYNC_OFF: 'true' }
      : {};
    service = await startAuditService(readAuditConfig(environment(full)), { logger: silent as never });
    client = connect(service.url);
  }

  async function stop(): Promise<void> {
    await client.close();
    await service.stop();
  }

  const append = (count: number) =>
    client.post(appendEvents.path, appendBody(someEvents(count)).toString(), DEADLINE_MS);

  test('a file has every entry once, over restarts and moves, and changes of the sinks are recorded', async () => {
    configure(fileSink());
    await start();
    await append(3);
    // The first entry says that there is this sink.
    await eventually(() => seqsIn(archive()).length === 4);
    expect(statSync(archive()).mode & 0o777).toBe(0o600);
    await stop();

    // As if killed within a line, before the position was stored.
    writeFileSync(archive(), `${readFileSync(archive(), 'utf8')}{"event":`);
    const db = database?.open() ?? openSqlite(join(dataDir, 'audit', 'audit.db'));
    await db.query('update audit_sink set next_seq = 1');
    await db.close();
    await start();
    await append(150);
    await append(150);
    await eventually(() => seqsIn(archive()).length === 304);
    expect(seqsIn(archive())).toEqual(upTo(304));

    renameSync(archive(), `${archive()}.1`);
    await append(2);
    await eventually(() => seqsIn(archive()).length === 2);
    expect(seqsIn(archive())).toEqual([304, 305]);
    renameSync(archive(), `${archive()}.2`);
    // As a program does that makes the new file itself.
    writeFileSync(archive(), '', { mode: 0o600 });
    await append(1);
    await eventually(() => seqsIn(archive()).length === 1);
    expect(seqsIn(archive())).toEqual([306]);
    await stop();

    configure(fileSink({ required: true, maxLagEntries: 1000 }));
    await start();
    await stop();
    configure();
    await start();
    const { items } = EntryPage.parse(await client.call(listEntries, { query: { order: 'oldest', limit: 500 } }));
    const ofSinks = items.filter(({ event }) => event.action.startsWith('sink.'));
    expect(ofSinks.map(({ peer, event }) => [peer, event.action, event.resource?.name])).toEqual([
      ['audit-service', 'sink.add', 'archive'],
      ['audit-service', 'sink.change', 'archive'],
      ['audit-service', 'sink.remove', 'archive'],
    ]);
    expect(ofSinks[1]!.event.changes).toEqual({ maxLagEntries: { to: 1000 }, required: { from: false, to: true } });
  });

  test('a required sink that hangs delays no other one, and stops the log until it answers again', async () => {
    answer = 'never';
    configure(fileSink(), httpsSink(receiverUrl, { required: true, maxLagEntries: 10 }));
    await start();
    await append(20);
    await eventually(() => seqsIn(archive()).length === 22);
    await eventually(() => got.length > 0);

    const cause = { code: 'unavailable' };
    await expect(append(1)).rejects.toMatchObject(cause);
    await expect(client.text('/v1/checkpoint')).rejects.toMatchObject(cause);
    const ready = await fetch(`${service.opsUrl}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('sinks')]);
    const metrics = await (await fetch(`${service.opsUrl}/metrics`)).text();
    expect(metrics).toMatch(/^cardea_audit_sink_lag_entries\{sink="siem",service="audit-service"\} 22$/m);

    // The receiver refuses, and then takes what it refused.
    answer = 500;
    receiver.closeAllConnections();
    const before = got.length;
    await eventually(() => got.length > before);
    answer = 204;
    await eventually(() =>
      client.text('/v1/checkpoint').then(
        () => true,
        () => false,
      ),
    );
    await append(1);
    await eventually(() => got.at(-1)!.body.includes('"seq":22,'));
    expect(got.every(({ isSigned }) => isSigned)).toBe(true);
    const seqs = new Set(
      got.flatMap(({ body }) =>
        body
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line).seq),
      ),
    );
    expect([...seqs]).toEqual(upTo(23));
  });
});

test('killed while it delivers, audit-service loses and reorders nothing', async () => {
  configure(fileSink());
  const main = new URL('../src/main.ts', import.meta.url).pathname;
  const args = ['--disable-warning=ExperimentalWarning', main];
  let acknowledged = 0;
  for (const round of [1, 2, 3]) {
    const child = spawn(process.execPath, args, { env: environment(), stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const ended = once(child, 'exit');
    const [{ url }] = (await once(child, 'message')) as [{ url: string }];
    const client = connect(url);
    const load = Array.from({ length: 4 }, async () => {
      for (;;) {
        await client.post(appendEvents.path, appendBody(someEvents(100)).toString(), DEADLINE_MS);
        acknowledged += 100;
        if (acknowledged >= round * 2_000) child.kill('SIGKILL');
      }
    });
    await Promise.allSettled(load);
    await ended;
    await client.close();
  }
  const service = await startAuditService(readAuditConfig(environment()), { logger: silent as never });
  const client = connect(service.url);
  const size = Number((await client.text('/v1/checkpoint')).split('\n')[1]);
  expect(size).toBeGreaterThan(acknowledged);
  await eventually(() => seqsIn(archive()).at(-1) === size - 1);
  await client.close();
  await service.stop();
  expect(seqsIn(archive())).toEqual(upTo(size));
});

test('the sinks file is refused with all its faults', () => {
  const sinks = [
    fileSink({ path: 'relative', colour: 'red' }),
    fileSink({ required: true }),
    httpsSink('http://siem.example/', { name: 'Big' }),
  ];
  configure(...sinks);
  const faults = [
    /sinks\.0\.path: must be an absolute path/,
    /colour/,
    /sinks\.1: needs required/,
    /https:\/\//,
    /1 to 63/,
  ];
  for (const fault of faults) expect(() => readAuditConfig(environment())).toThrow(fault);
  configure(fileSink(), fileSink());
  expect(() => readAuditConfig(environment())).toThrow('must have different names');
  configure(fileSink(), fileSink({ name: 'other' }));
  expect(() => readAuditConfig(environment())).toThrow('must have different paths');
  configure(httpsSink('https://siem.example/?key=k'));
  expect(() => readAuditConfig(environment())).toThrow('must not have a query');
  configure(httpsSink('https://siem.example/', { secretFile: '/nowhere', caFile: '/no-ca' }));
  expect(() => readAuditConfig(environment())).toThrow(/\/nowhere .*\/no-ca /);
});

test('a file that the system could not sync gets the entries of that delivery again', async () => {
  const path = join(dataDir, 'unsynced.jsonl');
  const sink = createFileSink(path);
  const batch = { first: 0, entries: [Buffer.from('{"seq":0}'), Buffer.from('{"seq":1}')] };
  const { signal } = new AbortController();
  const handle = await open(path, 'a', 0o600);
  // The first call is that for the folder.
  const failing = jest
    .spyOn(Object.getPrototypeOf(handle) as FileHandle, 'sync')
    .mockResolvedValueOnce(undefined)
    .mockRejectedValueOnce(new Error('EIO'));
  await handle.close();
  await expect(sink.deliver(batch, signal)).rejects.toThrow('EIO');
  failing.mockRestore();
  await sink.deliver(batch, signal);
  await sink.close();
  expect(seqsIn(path)).toEqual([0, 1, 0, 1]);
});

test.each(['a line of somebody else', '{"seq":0}\nand what follows'])(
  'a file is left as it is if it ends with %j',
  async (content) => {
    const path = join(dataDir, 'foreign.jsonl');
    writeFileSync(path, content);
    const sink = createFileSink(path);
    const delivery = sink.deliver({ first: 0, entries: [Buffer.from('{"seq":0}')] }, new AbortController().signal);
    await expect(delivery).rejects.toThrow('is no entry of the log');
    expect(readFileSync(path, 'utf8')).toBe(content);
  },
);
