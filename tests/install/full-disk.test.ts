import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Person } from '@cardea/testkit/person';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { fillDisk, freePorts, killAll, start } from './installation.ts';

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
    'of %d KiB ends a start with one sentence, which does not speak of rights',
    async (diskKib) => {
      const installation = start({ dataDir, port: await freePorts(), diskKib });
      const code = await installation.ended();
      expect(installation.output()).toMatch(/, because the disk is full \((ENOSPC|SQLITE_FULL)\): make room on it/);
      // Lines of the log hold causes and stacks. What is written for people does not.
      const sentences = installation.output().replaceAll(/^.*\{"time":.*$/gm, '');
      expect(sentences).not.toMatch(/^.{0,9} +at |let the user|may not use|CommitError/m);
      expect([74, 75, 78]).toContain(code);
    },
  );

  test('is named by a service that cannot commit, which has recorded nothing that is not there', async () => {
    const installation = start({ dataDir, port: await freePorts(), diskKib: 40 * 1024 });
    const url = await installation.ready();
    const root = `/proc/${installation.process.pid}/root`;
    const password = (await readFile(`${root}${dataDir}/initial-admin-password`, 'utf8')).trim();
    const admin = await Person.signIn(url, 'admin', password);
    await fillDisk(installation, dataDir);

    const why = /^.*(could not commit|audit log stops), because the disk .*\(\w+\): .* The process stops, so that/m;
    await expectEventually(async () => {
      await admin
        .post('/auth/password', { currentPassword: password, newPassword: 'too short' })
        .catch(() => undefined);
      expect(installation.output()).toMatch(why);
    });
    await rm(`${root}${dataDir}/filling`);
    await expectEventually(async () => {
      const entries = await admin.auditEntries({ action: 'auth.login' });
      expect(entries.map(({ event }) => event.decision)).toContain('allow');
    }, 60_000);
  });

  test('ends a command with the same sentence', async () => {
    const env = { PATH: process.env['PATH'], CARDEA_DATA_DIR: dataDir, CARDEA_PORT: String(await freePorts()) };
    const args = ['-Urm', 'sh', '-c', COMMANDS, process.execPath, dataDir, root];
    const { stdout } = await promisify(execFile)('unshare', args, { env });
    expect(stdout.trim().split('\n')).toEqual([sentence('ENOSPC'), '75', sentence('SQLITE_FULL'), '75']);
  });
});

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
