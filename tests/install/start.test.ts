import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdtemp, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ownSqliteFile } from '@cardea/storage/sqlite-ownership';
import { Person, Stranger } from '@cardea/testkit/person';
import { childrenOf, untilEnded } from '@cardea/testkit/servers';
import { filesIn, freePorts, killAll, serviceProcess, start } from './installation.ts';
import type { FoundFile, Installation } from './installation.ts';
import { expectEventually } from '../access/probes.ts';

/** 24 bytes, so that its base64 is the same at the start of a text and at each third byte. */
const CANARY = 'canary-9d1c5be07af2-tail';
const said: string[] = [];
let folder: string;
let dataDir: string;
let port: number;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-start-'));
  dataDir = join(folder, 'data');
  port = await freePorts();
});
afterAll(async () => {
  await killAll();
  await rm(folder, { recursive: true, force: true });
});

describe('the start command', () => {
  let installation: Installation;
  let password: string;
  let admin: Person;

  async function startAgain(): Promise<string> {
    installation = start({ dataDir, port, env: { CARDEA_LOG_LEVEL: 'debug' } });
    return installation.ready();
  }

  async function stopInOrder(): Promise<void> {
    const { output, stop } = installation;
    expect(await stop()).toBe(0);
    said.push(output());
  }

  test('says at the first start where Cardea is and how to sign in, and shows its files to nobody', async () => {
    const url = await startAgain();
    expect(url).toBe(`http://127.0.0.1:${port}`);
    expect(installation.output()).toContain(`The data is in ${dataDir}`);
    [, password = ''] = /Log in as admin with the password (\S+)\n/.exec(installation.output()) ?? [];
    expect(await readFile(join(dataDir, 'initial-admin-password'), 'utf8')).toBe(`${password}\n`);

    const files = await filesIn(dataDir);
    const modes = new Map(files.map(({ path, mode }) => [path, mode.toString(8)]));
    expect(Object.fromEntries(modes)).toMatchObject({
      'initial-admin-password': '600',
      'kek/seal-key': '400',
      'kek/keyring.json': '600',
      'audit/signing-key': '600',
      'audit/audit.db': '600',
      'api/cardea.db': '600',
      'tls/ca.key': '600',
      'tls/api-service.key': '600',
    });
    const shown = files.filter(({ path, mode }) => (mode & 0o077) !== 0 && path !== 'audit/verifier-key');
    expect(shown.map(({ path }) => path)).toEqual([]);
  });

  test('gives a Cardea that keeps a secret and its record', async () => {
    admin = await Person.signIn(`http://127.0.0.1:${port}`, 'admin', password);
    await admin.createVault('payments');
    await admin.putSecret('payments', 'db/password', CANARY);
    expect(await admin.readSecret('payments', 'db/password')).toBe(CANARY);
    const entries = await admin.auditEntries({ vault: 'payments' });
    expect(entries.map(({ event }) => [event.action, event.decision])).toEqual([
      ['secret.read', 'allow'],
      ['secret.write', 'allow'],
      ['vault.create', 'allow'],
    ]);
  });

  test.each(['api/cardea.db', 'audit/audit.db'])('keeps %s from other programs', async (file) => {
    await expect(ownSqliteFile(join(dataDir, file), 0)).rejects.toThrow(/in use by another process/);
  });

  test.each(['api-service', 'audit-service', 'kek-service'])(
    'starts a killed %s again, and nothing acknowledged is lost',
    async (service) => {
      const written = `${CANARY} ${service}`;
      await admin.putSecret('payments', 'db/password', written);
      process.kill(await serviceProcess(installation, service), 'SIGKILL');
      await expectEventually(async () => {
        expect(installation.output()).toContain(`${service} ended with signal SIGKILL; starting it again`);
        expect(installation.output()).toContain(`${service} is ready again`);
      });
      await expectEventually(async () => {
        expect(await admin.readSecret('payments', 'db/password')).toBe(written);
      });
      const [entry] = await admin.auditEntries({ action: 'secret.write' });
      expect(entry!.event).toMatchObject({ decision: 'allow', resource: { vault: 'payments', name: 'db/password' } });
    },
  );

  test('ends with 0 on request, says so, and finds everything at the next start', async () => {
    await stopInOrder();
    expect(installation.output()).toMatch(/cardea \| stopping: .*\n[^]*cardea \| all services have stopped\n$/);
    await cp(join(dataDir, 'audit', 'audit.db'), join(folder, 'older-audit.db'));
    await startAgain();
    expect(installation.output()).not.toContain(password);
    expect(await admin.readSecret('payments', 'db/password')).toBe(`${CANARY} kek-service`);
    await Person.signIn(`http://127.0.0.1:${port}`, 'admin', password);
    await stopInOrder();
  });

  test('is not delayed by a slow client after its supervisor was killed, nor shares its files with the next one', async () => {
    await startAgain();
    const slow = await beginRequest(admin.token, port);
    const services = new Set(childrenOf(installation.process.pid!));
    installation.process.kill('SIGKILL');
    await installation.ended();
    const next = start({ dataDir, port: await freePorts() });
    await next.ready();
    expect(slow.closed).toBe(true);
    expect(await next.stop()).toBe(0);
    // The next test reads all files.
    await untilEnded(services);
  });

  test('has written no value anywhere, in clear or encoded', async () => {
    const files = await filesIn(dataDir);
    expect(files.map(({ path }) => path)).toEqual(expect.arrayContaining(['api/cardea.db', 'audit/audit.db']));
    expect(said.join('')).toContain('"level":"debug"');
    const everything: FoundFile[] = [...files, { path: 'output', mode: 0, bytes: Buffer.from(said.join('')) }];
    const holding = everything.filter(({ bytes }) => spellings(CANARY).some((spelling) => bytes.includes(spelling)));
    expect(holding.map(({ path }) => path)).toEqual([]);
  });

  test('finds a value that is written, so that the previous test means something', () => {
    for (const before of ['', 'x', 'xx']) {
      const encoded = Buffer.from(`${before}${CANARY}, and more`).toString('base64');
      expect(spellings(CANARY).filter((spelling) => encoded.includes(spelling))).toHaveLength(1);
    }
    expect(spellings(CANARY).some((spelling) => Buffer.from(`a ${CANARY} b`).includes(spelling))).toBe(true);
  });
});

/** A request that api-service has begun to answer, and whose body does not arrive. */
async function beginRequest(token: string, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  const headers = `Host: localhost\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 99`;
  socket.write(`POST /api/v1/vaults HTTP/1.1\r\n${headers}\r\nExpect: 100-continue\r\n\r\n`);
  await once(socket, 'data');
  return socket;
}

/** A text as it is, in hex, and in base64 at every offset. */
function spellings(text: string): string[] {
  const inBase64 = [0, 1, 2].map((before) => {
    const encoded = Buffer.from('x'.repeat(before) + text).toString('base64');
    // The first and the last characters depend on the bytes around.
    return encoded.slice(before === 0 ? 0 : 4, -4);
  });
  return [text, Buffer.from(text).toString('hex'), ...inBase64];
}

describe('a start that fails says in one sentence what to do:', () => {
  const damages: [string, RegExp, (copy: string) => Promise<NodeJS.ProcessEnv | void>][] = [
    [
      'the data folder is a file',
      /the data folder \S+ cannot be written to, because .* \(EEXIST\): .*set CARDEA_DATA_DIR to another folder/,
      async (copy) => {
        await rm(copy, { recursive: true });
        await writeFile(copy, '');
      },
    ],
    [
      'the keyring is damaged',
      /The keyring \S+keyring\.json is damaged: put it back from a backup/,
      (copy) => flipByte(join(copy, 'kek', 'keyring.json'), 1),
    ],
    [
      'the keyring belongs to another seal key',
      /put both back from the same backup/,
      (copy) => writeFile(join(copy, 'kek', 'seal-key'), `${Buffer.alloc(32).toString('base64')}\n`, { mode: 0o400 }),
    ],
    [
      'a certificate is damaged',
      /api-service\.pem is damaged: put it back from a backup, or delete the folder/,
      (copy) => truncate(join(copy, 'tls', 'api-service.pem'), 100),
    ],
    [
      'the database of the audit log is older',
      /ROLLBACK DETECTED.*/,
      async (copy) => {
        await rm(join(copy, 'audit', 'audit.db-wal'), { force: true });
        await cp(join(folder, 'older-audit.db'), join(copy, 'audit', 'audit.db'));
      },
    ],
    [
      'the database is damaged',
      /the database is damaged \(SQLITE_\w+\): put the data folder back from a backup/,
      (copy) => writeFile(join(copy, 'api', 'cardea.db'), 'x'.repeat(9_000)),
    ],
    [
      'the audit log is damaged',
      /the database is damaged \(SQLITE_\w+\): put the data folder back from a backup/,
      (copy) => writeFile(join(copy, 'audit', 'audit.db'), 'x'.repeat(9_000)),
    ],
    [
      'the database is missing, and the audit log has records of one',
      /The database of api-service is empty, but the audit log has records of users: restore \S+cardea\.db from a backup/,
      (copy) => rm(join(copy, 'api'), { recursive: true }),
    ],
    [
      'the keys are missing, as after half of a restore',
      /The keyring folder \S+kek is missing, and the data beside it does not open without it: put it back from a backup/,
      (copy) => rm(join(copy, 'kek'), { recursive: true }),
    ],
    ['a malformed port', /CARDEA_PORT is "http": set it to a number/, async () => ({ CARDEA_PORT: 'http' })],
    ['an unknown profile', /there is no profile "huge": set CARDEA_PROFILE/, async () => ({ CARDEA_PROFILE: 'huge' })],
    ['an unknown log level', /CARDEA_LOG_LEVEL must be .*, not "/, async () => ({ CARDEA_LOG_LEVEL: 'loud' })],
    [
      'a malformed limit',
      /CARDEA_SIGN_INS_PER_MINUTE must be .*, not "/,
      async () => ({ CARDEA_SIGN_INS_PER_MINUTE: 'many' }),
    ],
    ['an unknown seal', /CARDEA_SEAL must be .*, not "/, async () => ({ CARDEA_SEAL: 'wax' })],
    [
      'another seal than that of the keyring',
      /CARDEA_SEAL says passphrase/,
      async () => ({ CARDEA_SEAL: 'passphrase' }),
    ],
    ['a host that is not this machine', /set CARDEA_HOST to an address/, async () => ({ CARDEA_HOST: '192.0.2.1' })],
  ];

  test.each(damages)('%s', async (_what, sentence, damage) => {
    const copy = join(folder, 'copy');
    await cp(dataDir, copy, { recursive: true });
    await expectRefused({ dataDir: copy, env: (await damage(copy)) ?? {} }, sentence);
    await rm(copy, { recursive: true });
  });

  test('a port that is in use', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => void other.listen(port + 2, '127.0.0.1', resolve));
    await expectRefused({ dataDir }, new RegExp(`port ${port + 2} is in use .*set CARDEA_PORT`));
    other.close();
  });

  test('a folder that another Cardea uses', async () => {
    const first = start({ dataDir, port });
    await first.ready();
    await expectRefused({ dataDir }, /the data folder is in use by another running Cardea/);
    expect(await first.stop()).toBe(0);
  });

  test.each([
    ['a malformed limit', /CARDEA_SIGN_INS_PER_MINUTE must be .*, not "/, { CARDEA_SIGN_INS_PER_MINUTE: 'many' }],
    ['a malformed name of the log', /CARDEA_AUDIT_ORIGIN must be .*, not "/, { CARDEA_AUDIT_ORIGIN: 'a b' }],
    ['a passphrase seal without a passphrase', /put it into a file and name that file/, { CARDEA_SEAL: 'passphrase' }],
    ['a host that is not this machine', /set CARDEA_HOST to an address/, { CARDEA_HOST: '192.0.2.1' }],
  ])('%s, and at the first start it leaves nothing behind', async (_what, sentence, env) => {
    await expectRefused({ dataDir: join(folder, 'first'), env }, sentence);
    expect(await readdir(folder)).not.toContain('first');
  });

  test('a passphrase that is wrong, too short, missing, or readable by everybody', async () => {
    const sealed = join(folder, 'sealed');
    const file = join(folder, 'passphrase');
    const env = { CARDEA_SEAL: 'passphrase', CARDEA_SEAL_PASSPHRASE_FILE: file };
    await expectRefused({ dataDir: sealed, env }, /cannot be read, because it is not there \(ENOENT\)/);
    await writeFile(file, 'a passphrase of some length', { mode: 0o644 });
    await expectRefused({ dataDir: sealed, env }, /can be read by other users of this machine: run chmod 400 \S+$/);
    expect(await readdir(folder)).not.toContain('sealed');
    await chmod(file, 0o600);
    await writeFile(file, 'short');
    await expectRefused({ dataDir: sealed, env }, /a passphrase has 12 to 1024 characters/);
    await writeFile(file, 'a passphrase of some length\n');
    const installation = start({ dataDir: sealed, port, env });
    await installation.ready();
    await installation.stop();
    expect(installation.output()).not.toContain('a passphrase of some length');
    await writeFile(file, 'a passphrase of some lengths\n');
    await expectRefused({ dataDir: sealed, env }, /The passphrase in \S+ does not open the keyring .*correct the/);
  });
});

test('a start without the passphrase says that Cardea is sealed, and the command that it shows unseals it', async () => {
  const sealed = join(folder, "it's sealed");
  const file = join(folder, 'passphrase');
  const passphrase = '  a "passphrase" of some \\ length ';
  await writeFile(file, `${passphrase}\n`, { mode: 0o600 });
  const env = { CARDEA_SEAL: 'passphrase' };
  const first = start({ dataDir: sealed, port, env: { ...env, CARDEA_SEAL_PASSPHRASE_FILE: file } });
  const url = await first.ready();
  await first.stop();

  const { output, stop } = start({ dataDir: sealed, port, env });
  await expectEventually(async () => expect(output()).toMatch(/\/v1\/unseal\n/));
  expect(output()).toContain(`is SEALED: until it is unsealed, ${url} answers 503\n`);
  expect(output()).not.toContain('Cardea is ready');
  const password = (await readFile(join(sealed, 'initial-admin-password'), 'utf8')).trim();
  const credentials = { username: 'admin', password };
  expect((await new Stranger(url).post('/auth/login', credentials)).body.code).toBe('sealed');

  expect(await unseal(/^ *(\(IFS=.*)$/m.exec(output())![1]!, 'a wrong one')).toContain('access_denied');
  await expectEventually(async () => {
    expect(await unseal(/^ *(\(IFS=.*)$/m.exec(output())![1]!, passphrase)).toBe('{"sealed":false}');
  });
  await expectEventually(async () => void (await Person.signIn(url, 'admin', password)));
  expect(await stop()).toBe(0);
});

/** Does what the command does, without curl, which a test machine need not have. */
async function unseal(command: string, passphrase: string): Promise<string> {
  const [ask = '', send = ''] = command.split(' | ');
  const { stdout } = spawnSync('bash', ['-c', ask], { input: `${passphrase}\n`, encoding: 'utf8' });
  const said = /^curl -sS --cacert (.+) --cert (.+) --key (.+) -H 'Content-Type: (.+)' --data-binary @- .* (\S+)$/.exec(
    send,
  );
  const [ca, cert, key, type, url] = said!.slice(1).map(unquoted);
  const [caPem, certPem, keyPem] = await Promise.all([ca, cert, key].map((path) => readFile(path!, 'utf8')));
  const asking = request(url!, {
    method: 'POST',
    ca: caPem,
    cert: certPem,
    key: keyPem,
    headers: { 'Content-Type': type },
  });
  const answered = once(asking, 'response');
  asking.end(stdout);
  const [answer] = await answered;
  return text(answer as NodeJS.ReadableStream);
}

/** A word of a shell command. */
function unquoted(word: string): string {
  return spawnSync('bash', ['-c', `printf %s ${word}`], { encoding: 'utf8' }).stdout;
}

async function expectRefused(
  { dataDir, env = {} }: { dataDir: string; env?: NodeJS.ProcessEnv },
  sentence: RegExp,
): Promise<void> {
  const { ended, output } = start({ dataDir, port, env });
  const code = await ended();
  // Services that start at the same time print the same, and the supervisor repeats what is wrong with any of them.
  const spoken = new Set(output().split('\n').map(withoutPrefix).filter(isSpoken));
  expect([...spoken]).toEqual([expect.stringMatching(sentence)]);
  expect(code).toBe(78);
}

function withoutPrefix(line: string): string {
  return line.replace(/^(kek|audit|api|cardea) +\| /, '').replace(/^The settings are wrong: (.*)\.$/, '$1');
}

/** Output for people, not log lines. A slow machine is waited for aloud. */
function isSpoken(line: string): boolean {
  const isProgress = /^(made certificates|still waiting for )/.test(line);
  return line !== '' && !line.startsWith('{') && !isProgress;
}

async function flipByte(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[at]! ^= 1;
  await writeFile(path, bytes);
}
