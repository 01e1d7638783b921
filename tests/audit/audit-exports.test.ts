import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import { useSystem } from '@cardea/testkit/use-system';
import type { Profile } from '@cardea/testkit/system';
import { expectEventually } from '../access/probes.ts';
import { expectRecords, recordsOf } from '../identity/identity.ts';

const verifier = fileURLToPath(new URL('../../services/audit-service/src/verifier.mjs', import.meta.url));
/** More than one file of an export, and far more than sockets hold: 20 MB. */
const ENTRIES = 4_200;
// As many as even a busy machine appends before a record is too late.
const BATCH = 100;
/** An export that is cut off here has begun and is far from complete. */
const HALF_WAY_BYTES = 2 ** 20;

const profiles: Profile[] = ['mini', 'full'];

describe.each(profiles)('an export in profile %s', (profile) => {
  const [system, { admin, carla }] = useSystem(profile);
  let begun: IncomingMessage[] = [];

  beforeAll(async () => {
    await admin.createVault('payments');
    for (let sent = 0; sent < ENTRIES; sent += BATCH) {
      await Promise.all(Array.from({ length: BATCH }, () => system.vault.audit.append(aLongEvent())));
    }
  });
  afterEach(() => {
    for (const answer of begun) answer.destroy();
    begun = [];
  });

  /** Resolves when the answer begins. Nothing of its body is read. */
  async function begin(by = admin, status = 200): Promise<IncomingMessage> {
    const headers = { Authorization: `Bearer ${by.token}` };
    const [answer] = (await once(get(`${system.url}/api/v1/audit/export`, { headers, agent: false }), 'response')) as [
      IncomingMessage,
    ];
    begun.push(answer);
    answer.on('error', () => {});
    expect(answer.statusCode).toBe(status);
    return answer;
  }

  /** Waits for the record that an answer broke off, which follows the record that it was allowed. */
  async function expectBrokenOff({ headers }: IncomingMessage): Promise<void> {
    const records = ['allow', 'deny'].map((decision) => ({ action: 'audit.export', decision }));
    await expectEventually(async () => {
      const found = await recordsOf(system, { headers: { 'x-request-id': headers['x-request-id'] as string } });
      expect(found).toMatchObject([records[0], { ...records[1], reason: 'unavailable', rule: 'broken-off' }]);
    });
  }

  async function goAwayHalfWay(by = admin): Promise<void> {
    const answer = await begin(by);
    let bytes = 0;
    for await (const chunk of answer) {
      bytes += (chunk as Buffer).length;
      if (bytes > HALF_WAY_BYTES) break;
    }
    expect(bytes).toBeGreaterThan(HALF_WAY_BYTES);
    answer.destroy();
    await expectBrokenOff(answer);
  }

  const leave = () => Promise.all([goAwayHalfWay(), goAwayHalfWay(carla)]);

  async function expectWholeExport(): Promise<void> {
    const path = join(system.dataDir, 'export.tar');
    await writeFile(path, await buffer(await begin()));
    const key = (await readFile(join(system.dataDir, 'audit', 'verifier-key'), 'utf8')).trim();
    const { stdout } = await promisify(execFile)(process.execPath, [verifier, '--key', key, path]);
    expect(Number(/OK: (\d+) entries/.exec(stdout)?.[1])).toBeGreaterThan(ENTRIES);
  }

  /**
   * Statements and transactions of audit-service that are open in its database. SQLite's end before they are answered.
   */
  async function openStatements(): Promise<number> {
    if (system.profile === 'mini') return 0;
    const db = system.openDatabase('audit');
    const [row] = await db.query<{ count: number }>(
      `select count(*) as count
         from pg_stat_activity
        where datname = current_database()
          and pid <> pg_backend_pid()
          and state <> 'idle'`,
    );
    await db.close();
    return row!.count;
  }

  test('releases everything if its reader leaves half way, however often that happens', async () => {
    // The first time opens the connections of the pools.
    await leave();
    const before = openSockets();
    await leave();
    await leave();
    await expectEventually(async () => {
      expect(openSockets()).toBeLessThanOrEqual(before);
      expect(await openStatements()).toBe(0);
    });
    await expectWholeExport();
  });

  test('that nobody reads keeps only its own caller from another, and everything else goes on', async () => {
    const unread = await begin();
    const refused = await begin(admin, 429);
    expect(refused.headers['retry-after']).toBe('1');
    await expectRecords(system, refused as never, {
      action: 'audit.export',
      reason: 'rate_limited',
      rule: 'under-way',
    });
    (await begin(carla)).destroy();
    for (const version of [1, 2, 3]) await admin.putSecret('payments', 'db/password', `version ${version}`);
    expect(await admin.readSecret('payments', 'db/password')).toBe('version 3');

    unread.destroy();
    await expectBrokenOff(unread);
    await expectWholeExport();
  });

  test('that nobody reads ends after a while, and its record says so', async () => {
    system.unreadMsMax = 1_000;
    await system.stopService('api');
    await system.startService('api');
    await expectBrokenOff(await begin());
  });
});

function aLongEvent(): AuditEvent {
  const long = 'x'.repeat(1_024);
  return {
    id: uuidv7(Date.now()),
    ts: '2026-11-22T06:27:28.123456Z',
    action: 'secret.read',
    decision: 'allow',
    reason: long,
    actor: { id: 'nobody', type: 'service', name: long },
    source: { userAgent: long },
    resource: { name: long },
    requestId: long,
  };
}

/** TCP connections of this process, which runs all services except the worker. */
function openSockets(): number {
  return process.getActiveResourcesInfo().filter((kind) => /^(TCPSocketWrap|TLSWrap)$/.test(kind)).length;
}
