import { execFile } from 'node:child_process';
import {
  appendFileSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';

// The command `stack` against a Docker that starts no container: the stand-in below answers as if all of them were
// healthy, and writes down what it was asked. trials/compose runs the command against a real one.
const root = fileURLToPath(new URL('../../', import.meta.url));
const script = join(root, 'deploy/stack/stack-main.ts');
const scratch = mkdtempSync(join(tmpdir(), 'cardea-stack-command-'));
let home = '';
let folder = '';
let count = 0;
let installed = '';

const dockerStandIn = `#!${process.execPath}
const fs = require('node:fs');
const home = ${JSON.stringify('HOME')};
const words = process.argv.slice(2);
const isCompose = words[1] === '--env-file';
const env = isCompose
  ? Object.fromEntries(fs.readFileSync(words[2], 'utf8').split('\\n').filter((it) => /^[A-Z]/.test(it)).map((it) => it.split(/=(.*)/)))
  : {};
const asked = (isCompose ? words.slice(3) : words).join(' ').replace(/^--file \\S+ /, '');
const shell = Object.keys(process.env).filter((name) => /^(COMPOSE|CARDEA)_/.test(name));
if (shell.length > 0) fs.writeFileSync(home + '/shell', shell.join());
fs.appendFileSync(home + '/asked', [env.CARDEA_IMAGE ?? '-', asked].join(' ') + '\\n');
const wait = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const print = (it) => fs.writeSync(1, typeof it === 'string' ? it + '\\n' : JSON.stringify(it));
const services = () => {
  const text = fs.readFileSync(home + '/' + env.COMPOSE_FILE.split('/').at(-1) + '.json', 'utf8');
  return JSON.parse(text.replaceAll(/\\$\\{([A-Z_]+):-([^}]*)\\}/g, (_, name, other) => env[name] || other)).services;
};
const volume = (at) => words.find((it) => it.endsWith(at))?.slice(0, -at.length);
while (asked.startsWith('build') && fs.existsSync(home + '/hold')) wait(20);
if (fs.existsSync(home + '/fail') && asked.startsWith(fs.readFileSync(home + '/fail', 'utf8'))) process.exit(1);
if (asked.startsWith('config --services')) print(Object.keys(services()).join('\\n'));
else if (asked.startsWith('config')) print({ services: services() });
else if (asked.startsWith('ps')) {
  const ended = { State: 'exited', Health: '', ExitCode: 0 };
  for (const Service of Object.keys(services()))
    print(JSON.stringify({ Service, State: 'running', Health: 'healthy', ExitCode: 0, ...(['roles', 'migrate'].includes(Service) ? ended : {}) }));
} else if (asked.startsWith('image ls')) print('0123');
else if (asked.startsWith('volume ls') && fs.existsSync(home + '/other-stack')) print('4567');
else if (asked.startsWith('compose version')) print('2.40.0');
else if (asked.endsWith('du -sk /from')) print(fs.existsSync(home + '/kib') ? fs.readFileSync(home + '/kib', 'utf8') : '1000\\t/from');
else if (asked.endsWith('--check-settings')) {
  const given = words.filter((_, i) => words[i - 1] === '--env').map((it) => it.split(/=(.*)/s));
  const args = ['--disable-warning=ExperimentalWarning', ...asked.split(' ').slice(-2)];
  const { NODE_COMPILE_CACHE } = process.env;
  const env = { NODE_COMPILE_CACHE, ...Object.fromEntries(given) };
  const options = { cwd: ${JSON.stringify(root)}, env, stdio: 'inherit' };
  process.exit(require('node:child_process').spawnSync(process.execPath, args, options).status);
} else if (asked.startsWith('run') && volume(':/to'))
  for (const name of ['cardea-data.tar', 'cardea-kek.tar']) fs.writeFileSync(volume(':/to') + '/' + name, '');
`;

beforeEach(() => {
  home = join(scratch, `${++count}`);
  folder = join(home, 'stack');
  mkdirSync(join(home, 'bin'), { recursive: true });
  writeFileSync(join(home, 'bin/docker'), dockerStandIn.replace('"HOME"', JSON.stringify(home)), { mode: 0o755 });
  for (const profile of ['mini', 'full']) {
    const file = `docker-compose.${profile}.yml`;
    const plan: unknown = parse(readFileSync(join(root, file), 'utf8'), { merge: true });
    writeFileSync(join(home, `${file}.json`), JSON.stringify(plan));
  }
});
afterAll(() => rmSync(scratch, { recursive: true }));

interface Outcome {
  code: unknown;
  stdout: string;
  stderr: string;
}

function stack(...words: string[]): Promise<Outcome> {
  // What an operator may have exported for another stack.
  const exported = { COMPOSE_PROJECT_NAME: 'another', CARDEA_IMAGE: 'another' };
  const env = { ...process.env, ...exported, PATH: join(home, 'bin') };
  const args = ['--disable-warning=ExperimentalWarning', script, '--folder', folder, '--yes', ...words];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, stdout, stderr }),
    );
  });
}

const own = Object.values(networkInterfaces()).flatMap((addresses = []) => addresses.map(({ address }) => address));
const isFree = (subnet: string) => !own.some((address) => address.startsWith(`${subnet}.`));
const subnet = ['192.0.2', '198.51.100', '203.0.113'].find(isFree)!;
// Ports below those that systems give away.
const where = ['--https-port', '21443', '--http-port', '21080', '--subnet', subnet];
const planned = ['--profile', 'mini', '--domain', 'localhost', ...where];
const ready = { code: 0, stderr: '' };

const plannedFull = ['--profile', 'full', '--domain', 'localhost', ...where, '--grafana-port', '21300'];

/** Puts an installed stack into the folder. The command makes the first one, and the others are copies. */
async function install(): Promise<void> {
  if (installed === '') {
    expect(await stack(...planned)).toMatchObject(ready);
    rmSync(join(home, 'asked'));
    installed = `${scratch}/0`;
    cpSync(folder, installed, { recursive: true });
    writeFileSync(join(installed, '.env'), envFile().replaceAll(folder, installed));
  } else {
    cpSync(installed, folder, { recursive: true });
    writeFileSync(join(folder, '.env'), envFile().replaceAll(installed, folder));
  }
}

const envFile = () => readFileSync(join(folder, '.env'), 'utf8');
const imageOf = (text = envFile()) => /^CARDEA_IMAGE=(.*)$/m.exec(text)![1]!;
/** What Docker was asked, each with the image of the settings at that time. */
const asked = () => readFileSync(join(home, 'asked'), 'utf8').trim().split('\n');
const touched = () => asked().filter((line) => / (up|stop|restart|down) /.test(`${line} `));
const ups = () => asked().filter((line) => / up /.test(line));

test('a new folder is no second stack of the same name', async () => {
  writeFileSync(join(home, 'other-stack'), '');
  const { code, stderr } = await stack(...planned);
  expect([code, stderr]).toEqual([78, expect.stringContaining('another stack with the name cardea: say --folder')]);
  expect(touched()).toEqual([]);
  expect(existsSync(join(folder, '.env'))).toBe(false);
});

test('Docker is not given what the shell has exported for another stack', async () => {
  await install();
  expect(await stack()).toMatchObject(ready);
  expect(await stack('--uninstall', '--delete-data')).toMatchObject({ code: 0 });
  expect(existsSync(join(home, 'shell'))).toBe(false);
});

/** What an upgrade leaves that a power cut has ended after its backup. */
function interruptUpgrade(): { before: string } {
  const before = imageOf();
  const entries = envFile()
    .split('\n')
    .filter((line) => /^[A-Z]/.test(line))
    .map((line) => line.split(/=(.*)/));
  const from = Object.fromEntries(entries) as Record<string, string>;
  const backup = join(folder, 'backups/1');
  mkdirSync(backup, { recursive: true });
  for (const name of ['cardea-data.tar', 'cardea-kek.tar']) writeFileSync(join(backup, name), '');
  const note = { from, to: { ...from, CARDEA_IMAGE: 'cardea:new' }, backup, isBackedUp: true };
  writeFileSync(join(folder, 'upgrade.json'), JSON.stringify(note));
  writeFileSync(join(folder, '.env'), envFile().replace(before, 'cardea:new'));
  return { before };
}

/** Begins an upgrade, and resolves while the upgrade builds. */
async function upgradeOnHold() {
  writeFileSync(join(home, 'hold'), '');
  const upgrade = stack('--upgrade');
  while (!existsSync(join(home, 'asked')) || !/ build /.test(readFileSync(join(home, 'asked'), 'utf8')))
    await sleep(20);
  const pid = readFileSync(join(folder, 'stack.pid'), 'utf8').split(' ')[0];
  return { upgrade, pid };
}

test('deleting the data removes the images that the stack has built, and no other', async () => {
  await install();
  const image = imageOf();
  mkdirSync(join(folder, 'versions', 'cardea-0.1.0-20260101T000000'));
  mkdirSync(join(folder, 'versions', 'of-somebody'));
  expect(await stack('--uninstall')).toMatchObject(ready);
  const removed = () => asked().flatMap((line) => / image rm (.*)$/.exec(line)?.[1] ?? []);
  expect(removed()).toEqual([]);
  const { stdout } = await stack('--uninstall', '--delete-data');
  expect(removed().toSorted()).toEqual(['cardea:0.1.0-20260101T000000', image].toSorted());
  expect(asked().findIndex((line) => / down /.test(line))).toBeLessThan(
    asked().findIndex((line) => / image rm /.test(line)),
  );
  expect(stdout).toContain('images of others, such as those of nginx and PostgreSQL, stay');
  expect(existsSync(folder)).toBe(false);
});

describe('--check-settings', () => {
  test('before there is a stack checks the words, and makes nothing', async () => {
    expect(await stack('--check-settings', ...planned)).toEqual({
      code: 0,
      stdout: `the words are right; there is no stack in ${folder} yet\n`,
      stderr: '',
    });
    expect(existsSync(folder)).toBe(false);
  });

  test('checks the settings of a stack by its services too, and changes nothing', async () => {
    await install();
    expect(await stack('--check-settings')).toMatchObject({ ...ready, stdout: 'the settings are right\n' });
    appendFileSync(join(folder, '.env'), 'CARDEA_TRASH_DAYS=soon\n');
    const wrong = await stack('--check-settings');
    expect(wrong).toMatchObject({ code: 78, stderr: expect.stringContaining('CARDEA_TRASH_DAYS must be') });
    expect(touched()).toEqual([]);
  });
});

describe('after an upgrade that was interrupted', () => {
  test('the next run goes back, and starts nothing but the version before', async () => {
    await install();
    const { before } = interruptUpgrade();
    const outcome = await stack();
    expect(outcome).toMatchObject(ready);
    expect(outcome.stdout).toContain('an upgrade was interrupted: going back to the version before');
    expect(ups().length).toBeGreaterThan(0);
    for (const up of ups()) expect(up.split(' ')[0]).toBe(before);
    expect(imageOf()).toBe(before);
    expect(existsSync(join(folder, 'upgrade.json'))).toBe(false);
  });

  test('the next upgrade begins with the version before, and goes back to it if it fails', async () => {
    await install();
    const { before } = interruptUpgrade();
    // Only the upgrade starts some services by name.
    writeFileSync(join(home, 'fail'), 'up --detach --no-build --quiet-pull certificates');
    const { code, stderr } = await stack('--upgrade');
    expect([code, stderr]).toEqual([78, expect.stringContaining('the upgrade failed, and the version before runs')]);
    expect(imageOf()).toBe(before);
    expect(ups().at(-1)!.split(' ')[0]).toBe(before);
  });
});

describe('while a run of the command works on the stack', () => {
  test('a second one waits, says so, and then does its work', async () => {
    await install();
    const { upgrade, pid } = await upgradeOnHold();
    const before = imageOf();
    const second = stack();
    // It has looked at the lock more than once by then, or it would have started something.
    await sleep(1_500);
    expect(ups()).toEqual([]);
    rmSync(join(home, 'hold'));
    expect(await upgrade).toMatchObject(ready);
    const outcome = await second;
    expect(outcome).toMatchObject(ready);
    expect(outcome.stdout).toContain(`another run of this command works on ${folder} (process ${pid}`);
    expect(outcome.stdout).not.toContain('interrupted');
    expect(imageOf()).not.toBe(before);
    for (const up of ups()) expect(up.split(' ')[0]).toBe(imageOf());
    expect(existsSync(join(folder, 'stack.pid'))).toBe(false);
  });

  test('others that have waited long enough change nothing', async () => {
    await install();
    const { upgrade } = await upgradeOnHold();
    const before = { env: envFile(), asked: asked() };
    const others = ['', '--upgrade', '--uninstall', '--uninstall --delete-data'];
    for (const outcome of others.map((words) => stack('--patience', '1', ...words.split(' ').filter(Boolean)))) {
      const { code, stderr } = await outcome;
      expect([code, stderr]).toEqual([78, expect.stringMatching(/when it has ended, run this command again\n$/)]);
    }
    expect({ env: envFile(), asked: asked() }).toEqual(before);
    rmSync(join(home, 'hold'));
    expect(await upgrade).toMatchObject(ready);
  });

  test('the lock of a run that was killed holds up nobody', async () => {
    await install();
    writeFileSync(join(folder, 'stack.pid'), '4194399 gone\n');
    const outcome = await stack();
    expect(outcome).toMatchObject(ready);
    expect(outcome.stdout).not.toContain('waiting');
  });
});

describe('a run on a stack that is installed', () => {
  test('refuses every choice that the stack does not have, also to upgrade and to remove it', async () => {
    await install();
    const before = envFile();
    const other = '--profile full --name blue --domain a.example --https-port 1 --http-port 2 --subnet 10.9.8';
    for (const action of [[], ['--upgrade'], ['--uninstall', '--delete-data']]) {
      const { code, stderr } = await stack(...other.split(' '), ...action);
      expect([code, stderr.replaceAll(folder, 'F').split('\n')]).toEqual([
        78,
        [
          'the stack in F is of profile mini, and data cannot move between profiles: use another --folder and --name',
          'the stack in F has the name cardea, which its data have too: use another --folder and --name',
          ...[
            ['CARDEA_DOMAIN=localhost: ', 'CARDEA_DOMAIN=a.example', '--domain'],
            ['CARDEA_HTTPS_PORT=21443: ', 'CARDEA_HTTPS_PORT=1', '--https-port'],
            ['CARDEA_HTTP_PORT=21080: ', 'CARDEA_HTTP_PORT=2', '--http-port'],
            [`CARDEA_SUBNET=${subnet}: run it with --uninstall, `, 'CARDEA_SUBNET=10.9.8', '--subnet'],
          ].map(
            ([has, wanted, option]) =>
              `the stack in F has ${has}write ${wanted} into F/.env, and run this command again without ${option}`,
          ),
          '',
        ],
      ]);
    }
    expect([existsSync(join(home, 'asked')), envFile()]).toEqual([false, before]);
  });

  test('takes the choices that the stack has, and writes no settings again', async () => {
    await install();
    const before = statSync(join(folder, '.env')).ino;
    expect(await stack(...planned, '--name', 'cardea')).toMatchObject(ready);
    expect(statSync(join(folder, '.env')).ino).toBe(before);
  });

  // Only root can give files away.
  (process.geteuid!() === 0 ? test : test.skip)('by root leaves every file to the user whose stack it is', async () => {
    await install();
    for (const path of ['', ...readdirSync(folder, { recursive: true, encoding: 'utf8' })])
      chownSync(join(folder, path), 10_001, 10_001);
    rmSync(join(folder, 'secrets'), { recursive: true });
    expect(await stack('--upgrade')).toMatchObject(ready);
    const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    expect(paths).toContain('secrets');
    const others = paths.filter((path) => statSync(join(folder, path)).uid !== 10_001);
    expect(others).toEqual([]);
  });
});

describe('the settings of a stack are checked before anything is started or stopped:', () => {
  test('a name that nothing reads is refused with the nearest one, and so is a value of the compose file', async () => {
    await install();
    // The third one is a setting of `pnpm start`, and the last one is for Docker.
    const wrong = ['CARDEA_TRASH_DAY=7', 'TRASH_DAYS=7', 'CARDEA_HOST=::', 'CARDEA_BIND=all', 'COMPOSE_PROGRESS=plain'];
    appendFileSync(join(folder, '.env'), `${wrong.join('\n')}\n`);
    writeFileSync(join(folder, '.env'), envFile().replace('CARDEA_SUBNET=', 'CARDEA_SUBNET=x'));
    for (const action of [[], ['--upgrade']]) {
      const { code, stderr } = await stack(...action);
      expect([code, stderr.split('\n')]).toEqual([
        78,
        [
          'nothing was started:',
          '- CARDEA_TRASH_DAY is no setting of this stack, CARDEA_TRASH_DAYS is the nearest one',
          '- TRASH_DAYS is no setting of this stack, CARDEA_TRASH_DAYS is the nearest one',
          expect.stringMatching(/^- CARDEA_HOST is no setting of this stack, CARDEA_\w+ is the nearest one$/),
          `- CARDEA_SUBNET is "x${subnet}": write three numbers, as in 10.213.77`,
          '- CARDEA_BIND is "all": write an address of this machine, an IPv6 one without brackets',
          '',
        ],
      ]);
    }
    expect(touched()).toEqual([]);
  });

  test.each(['', '--upgrade'])('each service says what is wrong in its own settings and files: %s', async (action) => {
    await install();
    const wrong = ['CARDEA_TRASH_DAYS=ninety', 'CARDEA_UNWRAPS_PER_MINUTE=0', 'CARDEA_AUDIT_ORIGIN=a b'];
    appendFileSync(join(folder, '.env'), `${wrong.join('\n')}\n`);
    writeFileSync(join(folder, 'webhooks.yml'), 'endpoints: 7', { mode: 0o600 });
    writeFileSync(join(folder, '.env'), `${envFile()}CARDEA_WEBHOOKS_FILE=/run/cardea/webhooks.yml\n`);
    const { code, stderr } = await stack(...[action].filter(Boolean));
    expect(code).toBe(78);
    expect(stderr).toMatch(/^nothing was started:\n/);
    expect(stderr).toContain('CARDEA_TRASH_DAYS');
    expect(stderr).toContain('not "ninety"');
    expect(stderr).toContain('CARDEA_UNWRAPS_PER_MINUTE must be at least 1, not "0"');
    expect(stderr).toContain('CARDEA_AUDIT_ORIGIN');
    expect(stderr).toContain(join(folder, 'webhooks.yml'));
    expect(touched()).toEqual([]);
    expect(existsSync(join(folder, 'upgrade.json'))).toBe(false);
  });

  test('an upgrade takes a name that only the new version reads', async () => {
    await install();
    const running = /^COMPOSE_FILE=(.*)$/m.exec(envFile())![1]!;
    writeFileSync(running, readFileSync(running, 'utf8').replaceAll('CARDEA_TRASH_DAYS', 'CARDEA_BIN_DAYS'));
    appendFileSync(join(folder, '.env'), 'CARDEA_TRASH_DAYS=7\n');
    expect((await stack()).stderr).toContain('CARDEA_TRASH_DAYS is no setting of this stack, CARDEA_BIN_DAYS is');
    expect(await stack('--upgrade')).toMatchObject(ready);
  });

  test('those of a new stack of profile full are right', async () => {
    const outcome = await stack(...plannedFull);
    expect(outcome).toMatchObject(ready);
    const checked = asked().flatMap((line) => /(\S+) --check-settings$/.exec(line)?.[1] ?? []);
    expect(checked.sort()).toEqual(
      ['api-service', 'audit-service', 'kek-service', 'worker'].map((name) => `services/${name}/src/main.ts`),
    );
  });
});

test('a password that the folder has lost is not made anew, also not in a folder of an older version', async () => {
  expect(await stack(...plannedFull)).toMatchObject(ready);
  rmSync(join(folder, 'secrets/postgres-superuser'));
  rmSync(join(home, 'asked'));
  const refuses = async (...action: string[]) => {
    const { code, stderr } = await stack(...action);
    const refusal = 'the folder of the stack has lost secrets/postgres-superuser, and a new password does not open';
    expect([code, stderr]).toEqual([78, expect.stringContaining(refusal)]);
  };
  await refuses();
  await refuses('--upgrade');
  await refuses('--check-settings');
  // Older versions kept no list, but Docker has the data.
  rmSync(join(folder, 'known-passwords'));
  writeFileSync(join(home, 'other-stack'), '');
  await refuses();
  expect(asked().filter((line) => / (build|stop|up) ?/.test(line))).toEqual([]);
  expect(existsSync(join(folder, 'secrets/postgres-superuser'))).toBe(false);
}, 240_000);

describe('an upgrade', () => {
  test('that has no room for its backup is refused before it stops anything', async () => {
    await install();
    writeFileSync(join(home, 'kib'), '1000000000000\t/from');
    const { code, stderr } = await stack('--upgrade');
    expect([code, stderr]).toEqual([
      78,
      expect.stringMatching(/- the upgrade needs 953675\.\d GiB of disk, and \S+ has/),
    ]);
    expect(stderr).toContain(`The backups in ${folder}/backups are yours`);
    expect(asked().filter((line) => / (build|stop|up) ?/.test(line))).toEqual([]);
  });

  test('leaves the last three versions and their images, and all backups', async () => {
    await install();
    const before = imageOf();
    // The numbers of versions sort otherwise than their times.
    const old = ['0.10.0-20260101T000000', '0.9.0-20260102T000000', '0.9.1-20260103T000000'];
    for (const name of old) mkdirSync(join(folder, 'versions', `cardea-${name}`));
    for (const name of ['1', '2', '3', '4']) mkdirSync(join(folder, 'backups', name), { recursive: true });
    expect(await stack('--upgrade')).toMatchObject(ready);
    const removed = asked().flatMap((line) => / image rm (.*)/.exec(line)?.[1] ?? []);
    expect(removed.sort()).toEqual(['cardea:0.10.0-20260101T000000', 'cardea:0.9.0-20260102T000000']);
    const kept = [before, imageOf(), 'cardea:0.9.1-20260103T000000'].map((image) => image.replace(':', '-'));
    expect(readdirSync(join(folder, 'versions')).sort()).toEqual(kept.sort());
    expect(readdirSync(join(folder, 'backups'))).toHaveLength(5);
  });

  test('says which image it cannot remove, and leaves its version for the next time', async () => {
    await install();
    const versions = join(folder, 'versions');
    for (const day of ['01', '02']) mkdirSync(join(versions, `cardea-0.1.0-202601${day}T000000`));
    writeFileSync(join(home, 'fail'), 'image rm');
    const outcome = await stack('--upgrade');
    expect(outcome).toMatchObject(ready);
    expect(outcome.stdout).toContain('the version cardea:0.1.0-20260101T000000 could not be removed: ');
    expect(readdirSync(versions)).toContain('cardea-0.1.0-20260101T000000');
  });
});
