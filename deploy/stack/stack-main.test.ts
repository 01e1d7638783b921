import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from '@jest/globals';
import { readEnv, writeEnv } from './env-file.ts';
import { findWaiting } from './health.ts';

const script = fileURLToPath(new URL('stack-main.ts', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'cardea-stack-main-'));
let count = 0;
afterAll(() => rmSync(scratch, { recursive: true }));

interface Outcome {
  code: unknown;
  stdout: string;
  stderr: string;
  folder: string;
}

/** Runs the command on a machine whose `docker` is this shell script, or that has none. */
function stack(docker: string | undefined, ...words: string[]): Promise<Outcome> {
  const home = join(scratch, `${++count}`);
  mkdirSync(join(home, 'bin'), { recursive: true });
  const folder = join(home, 'stack');
  if (docker !== undefined) {
    writeFileSync(join(home, 'bin/docker'), `#!/bin/sh\n${docker}\n`);
    chmodSync(join(home, 'bin/docker'), 0o755);
  }
  const env = { ...process.env, PATH: join(home, 'bin') };
  return new Promise((resolve) => {
    execFile(process.execPath, [script, '--folder', folder, ...words], { env }, (error, stdout, stderr) => {
      resolve({ code: error?.code ?? 0, stdout, stderr, folder });
    });
  });
}

const mini = ['--profile', 'mini', '--domain', 'localhost', '--yes'];

test('a machine without Docker is told where to get it, and nothing is made', async () => {
  const { code, stderr, folder } = await stack(undefined, ...mini, '--https-port', '1443', '--http-port', '1080');
  expect(code).toBe(78);
  expect(stderr).toContain(
    'there is no docker: install Docker Engine with the Compose plugin (https://docs.docker.com',
  );
  expect(existsSync(folder)).toBe(false);
});

test('a Docker that does not run, and one without Compose 2, are named', async () => {
  const stopped = await stack('exit 1', ...mini);
  expect(stopped.stderr).toContain('the Docker engine does not answer: start it');
  const withoutCompose = await stack('[ "$1" != compose ]', ...mini);
  expect(withoutCompose.stderr).toContain('`docker compose` does not work: install docker-compose-plugin');
  const old = await stack('[ "$1" != compose ] || echo 1.29.2', ...mini);
  expect(old.stderr).toContain('Docker Compose is 1.29.2, and version 2 is needed');
});

test('a folder of the stack that others could open is closed, and that is said', async () => {
  const folder = join(scratch, 'loose');
  mkdirSync(join(folder, 'secrets'), { recursive: true });
  for (const path of [folder, join(folder, 'secrets')]) chmodSync(path, 0o755);
  const { stdout, stderr } = await stack(undefined, '--folder', folder, '--uninstall', '--yes');
  expect(stderr).toBe(`there is no stack in ${folder}\n`);
  expect(stdout).toBe(`other users of this machine could open ${folder}, ${folder}/secrets: now only this user can\n`);
  for (const path of [folder, join(folder, 'secrets')]) expect(statSync(path).mode & 0o777).toBe(0o700);
});

test('everything that is missing is said at once', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, resolve));
  const { port } = taken.address() as AddressInfo;
  const own = Object.values(networkInterfaces()).flatMap((addresses = []) => addresses);
  const address = own.find(({ family }) => family === 'IPv4')!.address;
  const subnet = address.split('.').slice(0, 3).join('.');
  const { code, stderr } = await stack(undefined, ...mini, '--https-port', `${port}`, '--subnet', subnet);
  taken.close();
  expect(code).toBe(78);
  expect(stderr).toMatch(/^this machine is not ready:\n- there is no docker/);
  expect(stderr).toContain(`- port ${port} is in use by another program`);
  expect(stderr).toContain(`- this machine has the address ${address} already`);
});

test('without a terminal it says what to say', async () => {
  const { code, stderr } = await stack(undefined, '--profile', 'mini');
  expect([code, stderr]).toEqual([78, expect.stringContaining('say --profile and --domain')]);
});

test.each(['--upgrade', '--uninstall'])('%s without a stack says so', async (action) => {
  const { code, stderr } = await stack('exit 0', action);
  expect([code, stderr]).toEqual([78, expect.stringContaining('there is no stack in')]);
});

test('deleting data needs a terminal or --yes', async () => {
  const { code, stderr } = await stack('exit 0', '--uninstall', '--delete-data');
  expect([code, stderr]).toEqual([78, expect.stringContaining('nobody can bring deleted data back')]);
});

test('the settings are replaced in place: what an operator added or commented stays', async () => {
  const folder = mkdtempSync(join(scratch, 'env-'));
  expect(await readEnv(folder)).toBeUndefined();
  await writeEnv(folder, { CARDEA_IMAGE: 'cardea:1', CARDEA_DOMAIN: 'a' });
  const path = join(folder, '.env');
  writeFileSync(path, `${readFileSync(path, 'utf8')}# ours\nCARDEA_TRASH_DAYS=7\n`);
  await writeEnv(folder, { CARDEA_IMAGE: 'cardea:2', CARDEA_DOMAIN: 'a', CARDEA_SUBNET: '10.1.2' });
  expect(readFileSync(path, 'utf8').split('\n').slice(1)).toEqual([
    'CARDEA_IMAGE=cardea:2',
    'CARDEA_DOMAIN=a',
    '# ours',
    'CARDEA_TRASH_DAYS=7',
    'CARDEA_SUBNET=10.1.2',
    '',
  ]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(await readEnv(folder)).toMatchObject({ CARDEA_IMAGE: 'cardea:2', CARDEA_TRASH_DAYS: '7' });
});

test('a value is written so that Compose reads it back, and an operator may quote in other ways', async () => {
  const folder = mkdtempSync(join(scratch, 'quotes-'));
  const path = join(folder, '.env');
  // Docker Compose read each of these lines as the value.
  const lines = {
    CARDEA_STACK_DIR: [`it's $HOME \${X} #1 "q"`, String.raw`"it's \$HOME \${X} #1 \"q\""`],
    COMPOSE_FILE: ['a\\n \\', String.raw`"a\\n \\"`],
    CARDEA_DOMAIN: ['cardea.example.com,::1', 'cardea.example.com,::1'],
    CARDEA_BIND: [' blanks ', '" blanks "'],
  } as const;
  const values = Object.fromEntries(Object.entries(lines).map(([name, [value]]) => [name, value]));
  await writeEnv(folder, values);
  expect(readFileSync(path, 'utf8').split('\n').slice(1, -1)).toEqual(
    Object.entries(lines).map(([name, [, line]]) => `${name}=${line}`),
  );
  expect(await readEnv(folder)).toEqual(values);

  const own = `A='it\\'s $x' # ours\nB=plain # ours\nC="a \\"b\\"" # ours\n`;
  writeFileSync(path, own);
  const read = { A: "it's $x", B: 'plain', C: 'a "b"' };
  expect(await readEnv(folder)).toEqual(read);
  await writeEnv(folder, read);
  expect(readFileSync(path, 'utf8')).toBe(own);
});

describe('a container is waited for', () => {
  const running = { state: 'running', health: 'healthy', exitCode: 0 };
  const waitingFor = (service: string, hasCheck: boolean, state: Partial<typeof running>) =>
    findWaiting([{ service, hasCheck }], [{ service, ...running, ...state }]).length > 0;

  test.each([
    ['api', true, {}, false],
    ['nginx-exporter', false, { health: '' }, false],
    ['migrate', false, { state: 'exited', health: '' }, false],
    ['migrate', false, { state: 'exited', health: '', exitCode: 78 }, true],
    ['migrate', false, { health: '' }, true],
    ['api', true, { health: 'starting' }, true],
    ['api', true, { health: 'unhealthy' }, true],
    // Just after its start, also after a crash.
    ['api', true, { health: '' }, true],
    ['api', true, { state: 'restarting', health: '' }, true],
    ['api', false, { state: 'exited', health: '' }, true],
  ])('%s, check: %s, %j: %s', (service, hasCheck, state, expected) => {
    expect(waitingFor(service, hasCheck, state)).toBe(expected);
  });

  test('also if Docker does not show it', () => {
    expect(findWaiting([{ service: 'api', hasCheck: true }], [])).toMatchObject([{ service: 'api', state: 'missing' }]);
  });
});
