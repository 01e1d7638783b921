import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Person } from '@cardea/testkit/person';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { fillDisk, freePorts, killAll, serviceProcess, start } from './installation.ts';
import type { Installation } from './installation.ts';

let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'cardea-disk-'));
});
afterEach(async () => {
  await killAll();
  await rm(dataDir, { recursive: true, force: true });
});

// Mounts are made by Linux alone.
(process.platform === 'linux' ? describe : describe.skip)('a disk that is full', () => {
  // For the certificates, for the database of the log, and for that of api-service there is no room.
  test.each([8, 120, 300])(
    'of %d KiB is the reason that a start gives, which does not speak of rights',
    async (diskKib) => {
      const installation = start({ dataDir, port: await freePorts(), diskKib });
      // It ends, or waits for room: a database may get some.
      const reason =
        /, because (the disk is full \((ENOSPC|SQLITE_FULL)\): make room on it|.*the disk of the audit log is full)/;
      await expectEventually(async () => expect(installation.output()).toMatch(reason), 60_000);
      const code = await installation.stop();
      // Lines of the log hold causes and stacks. What is written for people does not.
      const sentences = installation.output().replaceAll(/^.*\{"time":.*$/gm, '');
      expect(sentences).not.toMatch(/^.{0,9} +at |let the user|may not use|CommitError/m);
      expect([0, 74, 75, 78]).toContain(code);
    },
  );

  test('is the reason of a 503 while it lasts; no service ends, the log says it once, and then all goes on', async () => {
    const installation = start({ dataDir, port: await freePorts(), diskKib: 40 * 1024 });
    const admin = await firstAdmin(installation);
    await admin.createVault('payments');
    await admin.putSecret('payments', 'kept', 'value');
    const services = () =>
      Promise.all(['api', 'audit', 'kek'].map((one) => serviceProcess(installation, `${one}-service`)));
    const before = await services();
    await fillDisk(installation, dataDir);

    const refused = {
      code: 'unavailable',
      detail: expect.stringMatching(/^the disk of the (audit log|database) is full, so/),
    };
    await expectEventually(async () => {
      const answer = await admin.put('/vaults/payments/secrets/refused', { value: 'v'.repeat(8_000) });
      expect(answer.body).toMatchObject(refused);
      expect([answer.status, answer.headers['retry-after']]).toEqual([503, '30']);
    });
    // A read is not shown without its record, for which there is no room.
    const read = () => admin.get('/vaults/payments/secrets/kept');
    // The disk may refuse the write while the log has room in its files.
    await expectEventually(async () => expect((await read()).status).toBe(503));
    for (let count = 0; count < 20; count += 1) expect((await read()).status).toBe(503);
    await expectEventually(async () => {
      const { body, headers } = await read();
      expect([body, headers['retry-after']]).toEqual([expect.objectContaining(refused), '30']);
    });
    const { api, audit } = opsUrls(installation);
    expect((await fetch(`${api}/healthz`)).status).toBe(200);
    const ready = await (await fetch(`${audit}/readyz`)).json();
    expect(ready).toMatchObject({ degraded: ['disk'], disk: { freeBytes: expect.any(Number) } });
    expect((ready as { disk: { freeBytes: number } }).disk.freeBytes).toBeLessThan(1_000_000);
    const lines =
      installation.output().match(/requests are refused with 503: the disk of [^"]*: make room on it/g) ?? [];
    // At most once a minute for each service.
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.length).toBeLessThan(10);

    await rm(`/proc/${installation.process.pid}/root${dataDir}/filling`);
    await expectEventually(async () => expect(await admin.readSecret('payments', 'kept')).toBe('value'));
    await admin.putSecret('payments', 'later', 'value');
    await expectEventually(async () => {
      expect(await (await fetch(`${audit}/readyz`)).json()).toMatchObject({ status: 'ready', failed: [] });
    });
    // The signer has read again what is on disk. Nothing is there of what was refused.
    await admin.get('/audit/export').expect(200);
    const stored = await admin.get('/vaults/payments/secrets').expect(200);
    const names = (stored.body.items as { name: string }[]).map(({ name }) => name);
    await expectEventually(async () => {
      const writes = await admin.auditEntries({ action: 'secret.write', decision: 'allow' });
      expect(new Set(writes.map(({ event }) => event.resource!.name))).toEqual(new Set(names));
    });
    expect(await services()).toEqual(before);
  });

  test('lets reads go on if it is the disk of the secrets alone', async () => {
    const disk = join(dataDir, 'api');
    await mkdir(disk, { mode: 0o700 });
    const installation = start({ dataDir, port: await freePorts(), diskKib: 20 * 1024, disk });
    const admin = await firstAdmin(installation);
    await admin.createVault('payments');
    await admin.putSecret('payments', 'kept', 'value');
    await fillDisk(installation, disk);
    await expectEventually(async () => {
      const { status, body } = await admin.put('/vaults/payments/secrets/refused', { value: 'v'.repeat(8_000) });
      expect([status, body.detail]).toEqual([503, expect.stringMatching(/^the disk of the database is full/)]);
    });
    expect(await admin.readSecret('payments', 'kept')).toBe('value');
    expect(await (await fetch(`${opsUrls(installation).api}/readyz`)).json()).toMatchObject({
      status: 'ready',
      degraded: ['disk'],
    });
    const [entry] = await admin.auditEntries({ action: 'secret.read' });
    expect(entry!.event).toMatchObject({ decision: 'allow', resource: { name: 'kept' } });
  });

  test('ends a command with the same sentence', async () => {
    const env = { PATH: process.env['PATH'], CARDEA_DATA_DIR: dataDir, CARDEA_PORT: String(await freePorts()) };
    const args = ['-Urm', 'sh', '-c', COMMANDS, process.execPath, dataDir, root];
    const { stdout } = await promisify(execFile)('unshare', args, { env });
    expect(stdout.trim().split('\n')).toEqual([sentence('ENOSPC'), '75', sentence('SQLITE_FULL'), '75']);
  });
});

async function firstAdmin(installation: Installation): Promise<Person> {
  const url = await installation.ready();
  const path = `/proc/${installation.process.pid}/root${dataDir}/initial-admin-password`;
  return Person.signIn(url, 'admin', (await readFile(path, 'utf8')).trim());
}

function opsUrls({ port }: Installation): { api: string; audit: string } {
  return { api: `http://127.0.0.1:${port + 10}`, audit: `http://127.0.0.1:${port + 12}` };
}

const sentence = (code: string) => `The command has failed, because the disk is full (${code}): make room on it.`;
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Makes an installation on a small disk, stops and fills it, and runs the commands that write. $0 is Node. */
const COMMANDS = `
  mount -t tmpfs -o size=4m tmpfs "$1"
  mkfifo "$1/said"
  "$0" "$2/deploy/start.mjs" > "$1/said" & started=$!
  grep -q 'Cardea is ready' "$1/said"
  kill $started; wait $started
  dd if=/dev/zero of="$1/filling" bs=1k 2> /dev/null
  for main in "kek-service/src/seal-main.ts generate-shares 3 2" "api-service/src/recover-admin-main.ts admin"; do
    "$0" --disable-warning=ExperimentalWarning "$2/services/"$main 2>&1
    echo $?
  done`;
