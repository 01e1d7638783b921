import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { EntryPage, appendEvents, listEntries } from '@cardea/contracts/audit-api';
import { openCheckpoint, signCheckpoint, signingKeyFromSeed } from '@cardea/crypto/checkpoint';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { createAuditClient } from '@cardea/http/client/audit-client';
import { createClient } from '@cardea/http/client/peer-client';
import type { Client } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import type { ServiceName } from '@cardea/http/mtls';
import { openSqlite } from '@cardea/storage/sqlite';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { readAuditConfig } from '../src/config.ts';
import { openLog } from '../src/append/log.ts';
import { RESTORED_LOG, noteRestore } from '../src/restored-log.ts';
import { openSigningKey } from '../src/sign/signing-key.ts';
import { startAuditService } from '../src/start.ts';
import { auditDatabase, engines } from './audit-database.ts';
import type { AuditDatabase } from './audit-database.ts';
import { anEvent, appendBody, appendTo, someEvents } from './test-log.ts';
import { verify } from './verify.ts';

const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
let tlsDir: string;
let dataDir: string;
let clients: Client[];

beforeAll(async () => {
  tlsDir = mkdtempSync(join(tmpdir(), 'cardea-tls-'));
  await ensureCertificates(tlsDir, new Date());
});

afterAll(() => rmSync(tlsDir, { recursive: true }));

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'cardea-audit-'));
  clients = [];
});

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  rmSync(dataDir, { recursive: true });
});

function environment(settings: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return {
    CARDEA_DATA_DIR: dataDir,
    CARDEA_TLS_DIR: tlsDir,
    CARDEA_LOG_LEVEL: 'error',
    CARDEA_OPS_PORT: '0',
    CARDEA_AUDIT_PORT: '0',
    ...settings,
  };
}

function connect(url: string, name: ServiceName): Client {
  const client = createClient({ url, peer: 'audit-service', identity: readTlsIdentity(tlsDir, name) });
  clients.push(client);
  return client;
}

const folder = () => join(dataDir, 'audit');
const vkey = () => readFileSync(join(folder(), 'verifier-key'), 'utf8').trim();

/** Runs the command of an operator. */
function newLog(...words: string[]) {
  const main = new URL('../src/new-log-main.ts', import.meta.url).pathname;
  const args = ['--disable-warning=ExperimentalWarning', main, ...words];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    env: { ...process.env, CARDEA_DATA_DIR: dataDir },
    encoding: 'utf8',
  });
  return { code: status, said: stdout + stderr };
}

describe.each(engines)('audit-service on %s', (engine) => {
  let database: AuditDatabase | undefined;
  let url: string;
  let opsUrl: string;
  let service: Awaited<ReturnType<typeof startAuditService>>;

  async function start(): Promise<void> {
    const full = database
      ? { CARDEA_PROFILE: 'full', CARDEA_DATABASE_URL: database.url!.href, CARDEA_TEST_ALLOW_FSYNC_OFF: 'true' }
      : {};
    service = await startAuditService(readAuditConfig(environment(full)), { logger: silent as never });
    ({ url, opsUrl } = service);
  }

  beforeEach(async () => {
    database = engine === 'postgres' ? await auditDatabase('postgres') : undefined;
    await start();
  });

  afterEach(async () => {
    await service.stop();
    await database?.remove();
  });

  const entries = async () => connect(url, 'api-service').call(listEntries, {});

  async function verifyExport(...words: string[]) {
    const tar = join(dataDir, 'export.tar');
    writeFileSync(tar, await buffer(await connect(url, 'operator').stream('/v1/export', {})));
    return verify('--key', vkey(), tar, ...words);
  }

  test('appends the events that the client of the other services sends, and shows them', async () => {
    const api = connect(url, 'api-service');
    const events = someEvents(300);
    const log = createAuditClient(api);
    const receipts = await Promise.all(events.map(({ event }) => log.append(event)));

    expect(new Set(receipts.map(({ seq }) => seq))).toEqual(new Set(events.keys()));
    const page = EntryPage.parse(await api.call(listEntries, { query: { limit: 500, vault: 'payments' } }));
    const idAt = new Map(page.items.map(({ seq, event }) => [seq, event.id]));
    expect(receipts.map(({ seq }) => idAt.get(seq))).toEqual(events.map(({ id }) => id));
  });

  test('exports a log that passes the verifier, even after a restart', async () => {
    const expired = Array.from({ length: 20 }, () => anEvent({ action: 'secret.expire' }));
    await connect(url, 'worker').post(appendEvents.path, appendBody(expired).toString(), 60_000);
    await service.stop();
    await start();
    const api = connect(url, 'api-service');
    await api.post(appendEvents.path, appendBody(someEvents(5)).toString(), 60_000);

    expect(await verifyExport()).toMatchObject({ code: 0, said: expect.stringContaining('25 entries') });
    expect(openCheckpoint(await api.text('/v1/checkpoint'), vkey()).size).toBe(25);
  });

  test('records a restore once, also after a crash before the note of it is removed', async () => {
    await connect(url, 'api-service').post(appendEvents.path, appendBody(someEvents(2)).toString(), 60_000);
    await service.stop();
    const at = Date.now();
    const checkpoint = readFileSync(join(folder(), 'last-signed.json'), 'utf8');
    const found = { size: 2, signedAt: '2026-10-01T00:00:00.000000Z', checkpoint };
    await noteRestore(folder(), { at, by: 'olivia', backup: 'b1', madeAt: '2026-10-01T00:00:00.000Z', ...found });
    const note = readFileSync(join(folder(), RESTORED_LOG));
    for (let times = 0; times < 2; times += 1) {
      writeFileSync(join(folder(), RESTORED_LOG), note, { mode: 0o600 });
      await start();
      expect(existsSync(join(folder(), RESTORED_LOG))).toBe(false);
      if (times === 0) await service.stop();
    }
    const { items } = await entries();
    expect(items.map(({ event }) => event.action)).toEqual(['audit.restore', 'secret.read', 'secret.read']);
  });

  describe('a log that cannot go on', () => {
    let oldKey: string;
    let kept: string;
    let lost: AuditDatabase | undefined;

    // Three entries are signed, and a client keeps the checkpoint. Then the database is lost.
    beforeEach(async () => {
      const api = connect(url, 'api-service');
      await api.post(appendEvents.path, appendBody(someEvents(3)).toString(), 60_000);
      await connect(url, 'operator').stream('/v1/export', {}).then(buffer);
      oldKey = vkey();
      kept = join(dataDir, 'kept');
      writeFileSync(kept, await api.text('/v1/checkpoint'));
      await service.stop();
      lost = database;
      if (database) database = await auditDatabase('postgres');
      else for (const end of ['', '-wal', '-shm']) rmSync(join(folder(), `audit.db${end}`), { force: true });
    });
    afterEach(() => lost?.remove());

    test('is followed by a new one that names it, which its key has signed, and the verifier takes both keys', async () => {
      await expect(start()).rejects.toThrow('ROLLBACK DETECTED: 3 entries were signed');
      expect(newLog()).toMatchObject({ code: 78, said: expect.stringContaining('usage: pnpm new-log') });
      expect(newLog('the disk was lost')).toMatchObject({
        code: 0,
        said: expect.stringContaining('The old log is in'),
      });
      await start();
      // In profile full, no lock says that the service runs.
      if (engine === 'sqlite') expect(newLog('again')).toMatchObject({ code: 78 });

      const { items } = await entries();
      expect(items).toMatchObject([
        {
          seq: 0,
          peer: 'audit-service',
          event: { action: 'audit.begin', reason: 'the disk was lost', rule: 'new-log' },
        },
      ]);
      expect(vkey()).not.toBe(oldKey);
      expect(await verifyExport('--previous', oldKey, '--checkpoint', kept)).toMatchObject({
        code: 0,
        said: expect.stringMatching(/^succession +this log follows one of 3 entries, signed by the previous key$/m),
      });
      expect(await verifyExport('--previous', vkey())).toMatchObject({ code: 14 });
      expect(await verifyExport('--checkpoint', kept)).toMatchObject({ code: 15 });
    });

    test('shows that an older state of it was named, and is not begun half', async () => {
      const note = readFileSync(kept, 'utf8');
      rmSync(join(folder(), 'last-signed.json'));
      expect(newLog('x')).toMatchObject({ code: 78, said: expect.stringContaining('--checkpoint') });
      const older = join(dataDir, 'older');
      const origin = note.split('\n')[0]!;
      const seed = Buffer.from(readFileSync(join(folder(), 'signing-key'), 'utf8').trim(), 'hex');
      writeFileSync(older, signCheckpoint(signingKeyFromSeed(seed), { origin, size: 2, root: Buffer.alloc(32) }));
      // A thief of the key may have lost it for everybody else.
      rmSync(join(folder(), 'signing-key'));
      expect(newLog('x', '--checkpoint', older)).toMatchObject({
        code: 0,
        said: expect.stringContaining('NOT signed it'),
      });
      renameSync(join(folder(), 'previous-log.json'), join(folder(), 'new-log.json'));
      await expect(start()).rejects.toThrow('not finished');
      expect(newLog('another word')).toMatchObject({ code: 0 });
      await start();

      expect((await entries()).items[0]!.event.reason).toBe('x');
      expect((await verifyExport('--previous', oldKey)).said).toContain('NOT signed by the previous key');
      expect(await verifyExport('--previous', oldKey, '--checkpoint', kept)).toMatchObject({
        code: 13,
        said: expect.stringContaining('signs 3 entries of the previous log, and this log names only 2'),
      });
    });

    test.each([
      ['another key', '7'.repeat(64)],
      ['half a key', '7'.repeat(32)],
    ])('is followed by one that nothing endorses if signing-key holds %s', async (_what, content) => {
      writeFileSync(join(folder(), 'signing-key'), `${content}\n`);
      expect(newLog('x')).toMatchObject({ code: 0, said: expect.stringContaining('the old key has NOT signed it') });
      await start();
      expect(await verifyExport('--previous', oldKey, '--checkpoint', kept)).toMatchObject({
        code: 0,
        said: expect.stringContaining('NOT signed by the previous key'),
      });
    });
  });

  test('refuses and records callers without the right, and malformed bodies', async () => {
    const body = appendBody([anEvent()]).toString();
    const refused = async (name: ServiceName, text: string) =>
      connect(url, name)
        .post(appendEvents.path, text, 60_000)
        .catch((error: unknown) => error);

    expect(await refused('operator', body)).toMatchObject({ code: 'access_denied' });
    expect(await refused('api-service', `${body} `)).toMatchObject({ code: 'invalid_request' });
    await expect(connect(url, 'worker').call(listEntries, {})).rejects.toMatchObject({ code: 'access_denied' });
    await expect(connect(url, 'kek-service').stream('/v1/export', {})).rejects.toMatchObject({ code: 'access_denied' });

    expect((await entries()).items.map(({ event }) => [event.action, event.actor.id, event.suspicious])).toEqual([
      ['audit.export', 'kek-service', 'wrong_peer'],
      ['audit.read', 'worker', 'wrong_peer'],
      ['audit.append', 'api-service', 'malformed_append'],
      ['audit.append', 'operator', 'wrong_peer'],
    ]);
  });

  test('refuses a record from kek-service about a read by an admin, and records the sender', async () => {
    const actor = { id: 'admin-id', type: 'user', name: 'admin' } as const;
    const forged = anEvent({ action: 'secret.read', actor });
    const append = connect(url, 'kek-service').post(appendEvents.path, appendBody([forged]).toString(), 60_000);
    await expect(append).rejects.toMatchObject({ code: 'access_denied' });

    const { items } = await entries();
    expect(items).toMatchObject([
      {
        peer: 'audit-service',
        event: {
          action: 'audit.append',
          decision: 'deny',
          reason: 'access_denied',
          actor: { id: 'kek-service', type: 'service' },
          resource: { name: 'secret.read' },
          rule: 'foreign-action',
          suspicious: 'wrong_peer',
        },
      },
    ]);
    expect(JSON.stringify(items)).not.toMatch(new RegExp(`${forged.id}|admin-id|payments`));
  });

  test('refuses a record from kek-service of what an admin did, also of an action of its own', async () => {
    const admin = { id: 'admin-id', type: 'user', name: 'admin' } as const;
    const forged = anEvent({ action: 'seal.add', actor: admin });
    const append = connect(url, 'kek-service').post(appendEvents.path, appendBody([forged]).toString(), 60_000);
    await expect(append).rejects.toMatchObject({ code: 'access_denied' });

    const { items } = await entries();
    const actor = { id: 'kek-service', type: 'service' };
    const event = { action: 'audit.append', actor, rule: 'foreign-actor', suspicious: 'wrong_peer' };
    expect(items).toMatchObject([{ peer: 'audit-service', event: { ...event, resource: { name: 'seal.add' } } }]);
    expect(JSON.stringify(items)).not.toContain('admin-id');
  });

  test.each<[ServiceName, string, string | undefined]>([
    ['api-service', 'secret.read', undefined],
    ['api-service', 'user.change', undefined],
    ['api-service', 'seal.open', 'foreign-action'],
    ['api-service', 'audit.conflict', 'foreign-action'],
    ['worker', 'user.change', undefined],
    ['worker', 'secret.read', 'foreign-action'],
    ['worker', 'caller.drop', 'foreign-action'],
    ['kek-service', 'seal.open', undefined],
    ['kek-service', 'dek.create', 'foreign-action'],
    ['api-service', 'planet.destroy', 'unknown-action'],
    ['api-service', 'constructor.name', 'unknown-action'],
  ])('from %s an event %s is refused by the rule %s', async (peer, action, rule) => {
    const event = anEvent({ action, actor: { id: peer, type: 'service' } });
    const append = connect(url, peer).post(appendEvents.path, appendBody([event]).toString(), 60_000);
    if (rule === undefined) await append;
    else await expect(append).rejects.toMatchObject({ code: 'access_denied' });

    const { items } = await entries();
    const seen = items.map(({ peer, event }) => [peer, event.action, event.rule, event.suspicious]);
    const suspicious = rule === 'foreign-action' ? 'wrong_peer' : undefined;
    const refusal = ['audit-service', 'audit.append', rule, suspicious];
    expect(seen).toEqual([rule === undefined ? [peer, action, undefined, undefined] : refusal]);
  });

  test('an event that its service may not submit does not stop the others of its batch', async () => {
    const log = createAuditClient(connect(url, 'kek-service'));
    const actor = { id: 'worker', type: 'service' } as const;
    const own = Array.from({ length: 3 }, () => anEvent({ action: 'dek.unwrap', actor }));
    const [foreign, ...appended] = await Promise.allSettled([anEvent(), ...own].map(({ event }) => log.append(event)));

    expect(foreign).toMatchObject({ status: 'rejected', reason: { code: 'internal' } });
    expect(appended.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled']);
    const taken = (await entries()).items.filter(({ event }) => event.action !== 'audit.append');
    expect(taken.map(({ event }) => event.id).toSorted()).toEqual(own.map(({ id }) => id).toSorted());
  });

  test('an id sent again with other content is a 409, recorded once with the peer', async () => {
    const event = anEvent({ action: 'secret.expire' });
    const worker = connect(url, 'worker');
    await worker.post(appendEvents.path, appendBody([event]).toString(), 60_000);
    const other = appendBody([anEvent({ id: event.id, action: 'secret.expire', decision: 'deny' })]).toString();

    await expect(worker.post(appendEvents.path, other, 60_000)).rejects.toMatchObject({ code: 'conflict' });
    const [conflict, ...before] = (await entries()).items;
    expect(conflict!.event).toMatchObject({ action: 'audit.conflict', actor: { id: 'worker', type: 'service' } });
    expect(before).toHaveLength(1);
  });

  test('shows its state on the ops port', async () => {
    await connect(url, 'api-service').post(appendEvents.path, appendBody(someEvents(7)).toString(), 60_000);
    const metrics = await (await fetch(`${opsUrl}/metrics`)).text();

    expect((await fetch(`${opsUrl}/readyz`)).status).toBe(200);
    expect(metrics).toContain('cardea_audit_appended_events_total{service="audit-service"} 7');
    expect(metrics).toContain('cardea_audit_signed_entries{service="audit-service"} 0');
  });
});

test('the ops port stays in use until the last entries are signed, so no second service starts on the same log', async () => {
  let opsPort = 0;
  let whileSigning: Promise<unknown> | undefined;
  const now = () => {
    if (opsPort !== 0) whileSigning ??= listenOn(opsPort);
    return new Date();
  };
  const service = await startAuditService(readAuditConfig(environment()), { logger: silent as never, now });
  await connect(service.url, 'api-service').post(appendEvents.path, appendBody([anEvent()]).toString(), 60_000);

  opsPort = Number(new URL(service.opsUrl).port);
  await service.stop();
  expect(await whileSigning).toBe('EADDRINUSE');
  expect(await listenOn(opsPort)).toBe('free');
});

function listenOn(port: number): Promise<unknown> {
  return new Promise((resolve) => {
    const server = createServer().once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve('free')));
  });
}

describe('the process', () => {
  const main = new URL('../src/main.ts', import.meta.url).pathname;
  let child: ChildProcess | undefined;

  // It writes into the folder that is removed next.
  afterEach(async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  });

  async function run(): Promise<{ url: string; ended: Promise<[number | null]> }> {
    child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main], {
      env: environment(),
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const ended = once(child, 'exit') as Promise<[number | null]>;
    const [ready] = (await once(child, 'message')) as [{ url: string }];
    return { url: ready.url, ended };
  }

  test('killed under load loses nothing it acknowledged and appends nothing twice', async () => {
    const { url, ended } = await run();
    const api = connect(url, 'api-service');
    const events: ReturnType<typeof someEvents> = [];
    const acknowledged: string[] = [];
    const load = Array.from({ length: 8 }, async () => {
      for (;;) {
        const batch = someEvents(20);
        events.push(...batch);
        await api.post(appendEvents.path, appendBody(batch).toString(), 60_000);
        acknowledged.push(...batch.map(({ id }) => id));
        if (acknowledged.length >= 1000) child!.kill('SIGKILL');
      }
    });
    await Promise.allSettled(load);
    await ended;

    const again = connect((await run()).url, 'api-service');
    for (let i = 0; i < events.length; i += 200) {
      await again.post(appendEvents.path, appendBody(events.slice(i, i + 200)).toString(), 60_000);
    }
    expect(acknowledged.length).toBeGreaterThanOrEqual(1000);
    const path = join(dataDir, 'export.tar');
    writeFileSync(path, await buffer(await again.stream('/v1/export', {})));
    expect(verify('--key', vkey(), path)).toMatchObject({
      code: 0,
      said: expect.stringContaining(`${events.length} entries`),
    });
  });

  test('ends with 74 if another process has written to its log', async () => {
    const { url, ended } = await run();
    const db = openSqlite(join(dataDir, 'audit', 'audit.db'));
    const folder = join(dataDir, 'audit');
    const origin = 'cardea.local/audit';
    const { key } = await openSigningKey(db, folder, origin);
    await appendTo(await openLog(db, { origin, publicKey: key.publicKey, now: Date.now }), [anEvent()]);
    await db.close();

    const append = connect(url, 'api-service').post(appendEvents.path, appendBody([anEvent()]).toString(), 60_000);
    await expect(append).rejects.toMatchObject({ code: 'unavailable' });
    expect((await ended)[0]).toBe(74);
  });
});
