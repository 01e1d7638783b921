import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

import { ensureCertificates } from './certificates.ts';
import type { ChildSpec } from './child.ts';
import { runSupervisor } from './supervisor.ts';

const scratch = mkdtempSync(join(tmpdir(), 'cardea-supervisor-'));
let dataDir: string;
let count = 0;

beforeAll(() => ensureCertificates(join(scratch, 'tls'), new Date()));
afterAll(() => rmSync(scratch, { recursive: true }));
beforeEach(() => {
  dataDir = join(scratch, `data-${++count}`);
  mkdirSync(dataDir);
  cpSync(join(scratch, 'tls'), join(dataDir, 'tls'), { recursive: true });
});

describe('starting', () => {
  test('waits for the first stage before it starts the second, and prints the welcome when all are ready', async () => {
    const run = supervise([
      [service('kek', `setTimeout(() => { console.log('kek serves'); ready(); }, 100)`), service('audit', 'ready()')],
      [service('api', `console.log('api starts'); ready({ url: 'http://here:1' })`)],
    ]);
    await run.said(/Cardea is ready in [\d.]+ s: http:\/\/here:1\n {2}The data is in .*\n {2}Ctrl-C stops it\n/);
    expect(run.output.indexOf('kek    | kek serves\n')).toBeGreaterThanOrEqual(0);
    expect(run.output.indexOf('api    | api starts\n')).toBeGreaterThan(run.output.indexOf('kek serves'));
    expect(await run.stop()).toBe(0);
  });

  test('prints the first password once', async () => {
    const makesPassword = `fs.writeFileSync(process.env.CARDEA_DATA_DIR + '/initial-admin-password', 'correct horse\\n'); ready()`;
    const first = supervise([[service('api', makesPassword)]]);
    await first.said(
      /Log in as admin with the password correct horse\n {2}\(the password is also in .*initial-admin-password\)/,
    );
    await first.stop();

    const second = supervise([[service('api', makesPassword)]]);
    await second.said(/Ctrl-C stops it/);
    expect(second.output).not.toContain('correct horse');
    await second.stop();
  });

  test('makes the certificates before anything runs', async () => {
    rmSync(join(dataDir, 'tls'), { recursive: true });
    const run = supervise([
      [service('api', `console.log(fs.readdirSync(process.env.CARDEA_DATA_DIR + '/tls').length); ready()`)],
    ]);
    await run.said(/cardea \| made certificates: ca, kek-service, .*\n(.*\n)*api {4}\| 12\n/);
    await run.stop();
  });

  test('prints each message of a service about wrong settings once, before it makes any file', async () => {
    rmSync(join(dataDir, 'tls'), { recursive: true });
    const run = supervise([
      [service('kek', 'ready()', 'the seal is wax'), service('audit', 'ready()', 'the log level is loud')],
      [service('api', 'ready()', 'the log level is loud')],
    ]);
    await expect(run.ended).rejects.toThrow(/^the seal is wax\nthe log level is loud$/);
    expect(readdirSync(dataDir).filter((name) => !name.endsWith('.mjs'))).toEqual([]);
  });

  test('names the wrong settings of every service at a later start too, after the first refusal', async () => {
    const run = supervise([
      [service('kek', 'process.exit(78)', 'the seal is wax')],
      [service('api', 'ready()', 'the log level is loud')],
    ]);
    await expect(run.ended).rejects.toThrow(/^the seal is wax\nthe log level is loud$/);
    expect(existsSync(join(dataDir, 'cardea.pid'))).toBe(false);
  });

  test('says that Cardea is sealed, and says it again if kek-service is sealed after a restart', async () => {
    const sealed = `ready({ url: 'https://127.0.0.1:1', sealed: true })`;
    const run = supervise([[service('kek', sealed)], [service('api', `ready({ url: 'http://here:1' })`)]]);
    await run.said(
      /is SEALED: until it is unsealed, http:\/\/here:1 answers 503\n(.*\n){3}.* https:\/\/127\.0\.0\.1:1\/v1\/unseal\n/,
    );
    expect(run.output).not.toContain('is ready in');
    process.kill(pidOf('kek'), 'SIGKILL');
    await run.said(/kek-service is ready again, and sealed: unseal it/);
    await run.stop();
  });

  test('refuses a folder with a damaged certificate and releases the folder', async () => {
    writeFileSync(join(dataDir, 'tls', 'ca.pem'), 'nonsense');
    await expect(supervise([[service('api', 'ready()')]]).ended).rejects.toThrow(/ca\.pem is damaged/);
    expect(existsSync(join(dataDir, 'cardea.pid'))).toBe(false);
  });

  test('ends all services and exits with 78 if one service exits with 78', async () => {
    const refusesOnceAuditRuns = `setInterval(() => {
      if (!fs.existsSync(process.env.CARDEA_DATA_DIR + '/audit.pid')) return;
      console.error('the seal is missing: put it back');
      process.exit(78);
    }, 5)`;
    const run = supervise([
      [service('kek', refusesOnceAuditRuns), service('audit', 'ready()')],
      [service('api', `console.log('api starts'); ready()`)],
    ]);
    expect(await run.ended).toBe(78);
    expect(run.output).toContain('kek    | the seal is missing: put it back\n');
    expect(run.output).not.toContain('api starts');
    expect(isAlive(pidOf('audit'))).toBe(false);
  });

  test('exits with the code of a service that fails in another way, after the output of that service', async () => {
    const run = supervise([[service('api', `process.stdout.write('no end of line'); process.exit(3)`)]]);
    expect(await run.ended).toBe(3);
    expect(run.output).toMatch(/api {4}\| no end of line\ncardea \| api-service ended with code 3 before it was ready/);
  });
});

describe('a service that ends later', () => {
  test('is started again, each time after twice the previous wait', async () => {
    const run = supervise([[service('kek', 'ready()')], [service('api', 'ready()')]]);
    await run.said(/Ctrl-C stops it/);
    const apiPid = pidOf('api');

    process.kill(pidOf('kek'), 'SIGKILL');
    await run.said(
      /cardea \| kek-service ended with signal SIGKILL; starting it again in 0\.02 s\ncardea \| kek-service is ready again/,
    );
    process.kill(pidOf('kek'), 'SIGKILL');
    await run.said(/starting it again in 0\.04 s\ncardea \| kek-service is ready again/);

    expect(isAlive(pidOf('kek'))).toBe(true);
    expect(pidOf('api')).toBe(apiPid);
    expect(await run.stop()).toBe(0);
  });

  test('never waits longer than lastRestartDelayMs', async () => {
    const run = supervise([[service('api', 'ready()')]], { lastRestartDelayMs: 30 });
    await run.said(/Ctrl-C stops it/);
    for (let kills = 1; kills <= 3; kills += 1) {
      process.kill(pidOf('api'), 'SIGKILL');
      await run.said(new RegExp(`(is ready again[^]*){${kills}}`));
    }
    expect(run.output.match(/(?<=starting it again in ).*/g)).toEqual(['0.02 s', '0.03 s', '0.03 s']);
    await run.stop();
  });

  test('and then refuses to start ends the other services, and the exit code is 78', async () => {
    const refusesSecondTime = `if (fs.existsSync(process.env.MARK)) process.exit(78); fs.writeFileSync(process.env.MARK, ''); ready()`;
    const audit = service('audit', refusesSecondTime);
    const run = supervise([
      [{ ...audit, env: { ...audit.env, MARK: join(dataDir, 'mark') } }],
      [service('api', 'ready()')],
    ]);
    await run.said(/Ctrl-C stops it/);
    process.kill(pidOf('audit'), 'SIGKILL');
    expect(await run.ended).toBe(78);
    expect(isAlive(pidOf('api'))).toBe(false);
  });
});

describe('stopping', () => {
  const endsSlowly = `process.on('SIGTERM', () => { console.log('ending'); setTimeout(() => { console.log('ended'); process.exit(0); }, 50); }); ready()`;

  test('ends the last stage first and releases the folder', async () => {
    const run = supervise([[service('kek', endsSlowly)], [service('api', endsSlowly)]]);
    await run.said(/Ctrl-C stops it/);
    expect(await run.stop()).toBe(0);
    const order = run.output.match(/^(api|kek) +\| (ending|ended)$/gm)?.map((line) => line.replace(/ +\|/, ''));
    expect(order).toEqual(['api ending', 'api ended', 'kek ending', 'kek ended']);
    expect(run.output).toMatch(/^cardea \| stopping: waiting for requests under way\n(api|kek) [^]*$/m);
    expect(run.output).toMatch(/kek {4}\| ended\ncardea \| all services have stopped\n$/);
    expect(readdirSync(dataDir)).not.toContain('cardea.pid');
  });

  test('before all services are ready starts no more services', async () => {
    const run = supervise([
      [
        service(
          'kek',
          `process.on('SIGTERM', () => { ready(); setTimeout(() => process.exit(0), 50); }); console.log('kek is up')`,
        ),
      ],
      [service('api', `console.log('api starts'); ready()`)],
    ]);
    await run.said(/kek is up/);
    expect(await run.stop()).toBe(0);
    expect(run.output).not.toMatch(/api starts|ready in/);
  });

  test('a second time kills services that do not end', async () => {
    const run = supervise([[service('api', `process.on('SIGTERM', () => console.log('not yet')); ready()`)]]);
    await run.said(/Ctrl-C stops it/);
    const stopped = run.stop();
    await run.said(/not yet/);
    run.kill();
    expect(await stopped).toBe(0);
    expect(isAlive(pidOf('api'))).toBe(false);
  });

  test('cancels a delayed restart', async () => {
    const run = supervise([[service('api', 'ready()')]], { firstRestartDelayMs: 3_600_000 });
    await run.said(/Ctrl-C stops it/);
    process.kill(pidOf('api'), 'SIGKILL');
    await run.said(/starting it again in 3600 s/);
    expect(await run.stop()).toBe(0);
  });
});

test('a port in use is refused before any service runs', async () => {
  const occupant = createServer();
  const port = await new Promise<number>((resolve) => {
    occupant.listen(0, '127.0.0.1', () => resolve((occupant.address() as { port: number }).port));
  });
  const run = supervise([[service('api', 'ready()')]], { addresses: [{ host: '127.0.0.1', port }] });
  await expect(run.ended).rejects.toThrow(/CARDEA_PORT/);
  expect(existsSync(join(dataDir, 'api.pid'))).toBe(false);
  occupant.close();
});

/**
 * Makes a service whose program is `body`, which calls `ready(more)` to report that it is ready. It writes its process
 * id to a file that pidOf reads. `refusal` is its message about its settings.
 */
function service(label: string, body: string, refusal = ''): ChildSpec {
  const script = join(dataDir, `${label}-service.mjs`);
  writeFileSync(
    script,
    `import fs from 'node:fs';
     if (process.argv[2] === '--check-settings') {
       console.error(${JSON.stringify(refusal)});
       process.exit(${refusal === '' ? 0 : 78});
     }
     const ready = (more) => process.send({ type: 'ready', ...more });
     process.on('disconnect', () => process.exit(0));
     // Renamed when it is whole: a process that is killed while it writes would leave an empty file.
     const pidFile = process.env.CARDEA_DATA_DIR + '/${label}.pid';
     fs.writeFileSync(pidFile + '.new', String(process.pid));
     fs.renameSync(pidFile + '.new', pidFile);
     ${body};`,
  );
  return { name: `${label}-service`, label, script, env: { CARDEA_DATA_DIR: dataDir }, semiSpaceMib: 8 };
}

const pidOf = (label: string) => Number(readFileSync(join(dataDir, `${label}.pid`), 'utf8'));

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function supervise(
  stages: ChildSpec[][],
  more: {
    firstRestartDelayMs?: number;
    lastRestartDelayMs?: number;
    addresses?: { host: string; port: number }[];
  } = {},
) {
  const stop = new AbortController();
  const kill = new AbortController();
  const out = new Output();
  const ended = runSupervisor({
    stages,
    dataDir,
    tlsDir: join(dataDir, 'tls'),
    url: 'http://127.0.0.1:8400',
    addresses: [],
    problems: [],
    firstRestartDelayMs: 20,
    ...more,
    out,
    stop: stop.signal,
    kill: kill.signal,
  });
  return {
    ended,
    said: (pattern: RegExp) => out.said(pattern),
    get output() {
      return out.text;
    },
    stop() {
      stop.abort();
      return ended;
    },
    kill: () => kill.abort(),
  };
}

class Output extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
    this.emit('text');
  }

  async said(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.text)) await new Promise((resolve) => this.once('text', resolve));
  }
}
