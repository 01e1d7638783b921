import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

import { lockDataFolder } from './data-folder-lock.ts';
import { planMini } from './mini.ts';
import { checkAddresses, checkBeforeStart, checkClock, prepareDataFolder } from './preflight.ts';

let scratch: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'cardea-preflight-'));
});
afterEach(() => rmSync(scratch, { recursive: true }));

const lockFile = () => join(scratch, 'cardea.pid');
const ports = (env: Record<string, string>) => planMini(env, scratch).addresses.map(({ port }) => port);

describe('the data folder', () => {
  test('is made with its parents, for this user only', async () => {
    const dataDir = join(scratch, 'a', 'b');
    await prepareDataFolder(dataDir);
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    expect(readdirSync(dataDir)).toEqual([]);
  });

  test.each(['taken', 'taken/data'])('is refused if its path is a file (%s)', async (path) => {
    writeFileSync(join(scratch, 'taken'), '');
    await expect(prepareDataFolder(join(scratch, path))).rejects.toThrow(
      /cannot be written to, because .*CARDEA_DATA_DIR/,
    );
  });
});

describe('the lock of the data folder', () => {
  test('keeps a second Cardea out until the first has ended', () => {
    const first = lockDataFolder(scratch);
    expect(() => lockDataFolder(scratch)).toThrow(
      new RegExp(`in use by another running Cardea \\(process ${process.pid}, .*CARDEA_DATA_DIR`),
    );
    first.release();
    const second = lockDataFolder(scratch);
    expect(second.isTakenOver).toBe(false);
    second.release();
    expect(readdirSync(scratch)).toEqual([]);
  });

  test('is taken over from a process that has ended', async () => {
    const ended = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    await once(ended, 'exit');
    writeFileSync(lockFile(), `${ended.pid} unknown\n`);

    expect(lockDataFolder(scratch).isTakenOver).toBe(true);
    expect(readFileSync(lockFile(), 'utf8')).toMatch(new RegExp(`^${process.pid} `));
  });

  test('is taken over if another program now has the process id', () => {
    writeFileSync(lockFile(), `${process.ppid} some-earlier-boot/123\n`);
    // Without /proc the start time of a process is unknown, and only the process id is compared.
    if (process.platform === 'linux') expect(lockDataFolder(scratch).isTakenOver).toBe(true);
    else expect(() => lockDataFolder(scratch)).toThrow(/in use/);
  });

  test('is respected while it is being written, and taken over if it was never finished', () => {
    writeFileSync(lockFile(), '');
    expect(() => lockDataFolder(scratch)).toThrow(/in use/);
    utimesSync(lockFile(), new Date(0), new Date(0));
    expect(lockDataFolder(scratch).isTakenOver).toBe(true);
  });

  test('is not removed if it belongs to another process', () => {
    const lock = lockDataFolder(scratch);
    writeFileSync(lockFile(), '1 other\n');
    lock.release();
    expect(readFileSync(lockFile(), 'utf8')).toBe('1 other\n');
  });
});

describe('a port', () => {
  let occupant: Server;
  let port: number;
  beforeEach(async () => {
    occupant = createServer();
    port = await listen(occupant, 0);
  });
  afterEach(() => void occupant.close());

  test('in use is named with the variable that sets another port', async () => {
    await expect(checkAddresses([{ host: '127.0.0.1', port }], 0)).rejects.toThrow(
      `port ${port} is in use by another program: stop it, or set CARDEA_PORT`,
    );
  });

  test('that its last user is about to release is waited for', async () => {
    const checked = checkAddresses([{ host: '127.0.0.1', port }], 10_000);
    occupant.close();
    await checked;
    await listen(createServer().unref(), port);
  });

  test('on an address of another machine is refused', async () => {
    await expect(checkAddresses([{ host: '192.0.2.1', port: 8400 }], 0)).rejects.toThrow(/CARDEA_HOST/);
  });

  test('in use leaves the data folder unlocked for the next try', async () => {
    const wanted = { dataDir: scratch, addresses: [{ host: '127.0.0.1', port }], now: new Date('2026-11-22') };
    await expect(checkBeforeStart(wanted)).rejects.toThrow(/in use/);
    expect(readdirSync(scratch)).toEqual([]);
    await expect(checkBeforeStart({ ...wanted, dataDir: join(scratch, 'new') })).rejects.toThrow(/in use/);
    expect(readdirSync(scratch)).toEqual([]);
  });
});

test('a clock before 2026 is refused', () => {
  expect(() => checkClock(new Date('1970-01-01T00:00:07Z'))).toThrow(
    /the clock says 1970-01-01T00:00:07\.000Z.*set the clock/,
  );
  checkClock(new Date('2026-01-01T00:00:00Z'));
});

describe('the plan of profile mini', () => {
  test('uses the folder `data` of the project and ports from 8400, unless the environment names others', () => {
    expect(planMini({}, scratch).dataDir).toBe(join(scratch, 'data'));
    expect(ports({})).toEqual([8400, 8410, 8401, 8411, 8402, 8412]);
    expect(planMini({ CARDEA_DATA_DIR: '/elsewhere' }, scratch).tlsDir).toBe('/elsewhere/tls');
    expect(ports({ CARDEA_PORT: '9000' })[0]).toBe(9000);
  });

  test('lets only api-service listen on CARDEA_HOST', () => {
    const { stages, addresses } = planMini({ CARDEA_HOST: '0.0.0.0' }, scratch);
    const hosts = Object.fromEntries(stages.flat().map(({ label, env }) => [label, env['CARDEA_HOST']]));
    expect(hosts).toEqual({ kek: '127.0.0.1', audit: '127.0.0.1', api: '0.0.0.0' });
    expect(addresses.map(({ host }) => host)).toEqual(['0.0.0.0', ...Array(5).fill('127.0.0.1')]);
  });

  test.each(['0', '65524', '8400x', '-1'])('refuses %s as a port', (port) => {
    expect(planMini({ CARDEA_PORT: port }, scratch).problems).toEqual([expect.stringContaining('CARDEA_PORT')]);
  });

  test.each(['full', 'medium'])('refuses profile %s', (profile) => {
    expect(planMini({ CARDEA_PROFILE: profile }, scratch).problems).toEqual([
      expect.stringContaining('CARDEA_PROFILE'),
    ]);
  });
});

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening on a port');
  return address.port;
}
