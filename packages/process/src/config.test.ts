import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { Port, ServiceUrl, StartError, commonSettings, fullNeeds, readConfig, wholeNumber } from './config.ts';
import { databaseRules, databaseVariables, redisRules, redisVariables } from './server-settings.ts';

const Settings = z.object({
  ...commonSettings,
  ...databaseVariables,
  ...redisVariables,
  CARDEA_PORT: Port.default(8400),
  CARDEA_KEK_URL: ServiceUrl,
  CARDEA_TRASH_DAYS: wholeNumber({ min: 1, max: 3_650 }).default(30),
});
const rules = [fullNeeds('CARDEA_DATABASE_URL', 'PostgreSQL'), databaseRules('DATABASE'), redisRules()];
const right = { CARDEA_TLS_DIR: '/tls', CARDEA_OPS_PORT: '0', CARDEA_KEK_URL: 'https://kek:8401' };

let folder: string;
let passwordFile: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-config-'));
  passwordFile = join(folder, 'password');
  await writeFile(passwordFile, 'hunter2\n', { mode: 0o400 });
});
afterAll(() => rm(folder, { recursive: true }));

/** What is wrong with these settings: one clause for each problem. */
function problems(env: NodeJS.ProcessEnv): string[] {
  try {
    readConfig(Settings, { ...right, ...env }, rules);
  } catch (error) {
    expect(error).toBeInstanceOf(StartError);
    const [, list] = /^The settings are wrong: (.*)\.$/.exec((error as Error).message) ?? [];
    return list?.split('; ') ?? [`not a sentence: ${String(error)}`];
  }
  return [];
}

test('every wrong variable is reported at once, in words, with its value', () => {
  const env = {
    CARDEA_PROFILE: 'huge',
    CARDEA_PORT: '70000',
    CARDEA_OPS_PORT: undefined,
    CARDEA_KEK_URL: 'kek',
    CARDEA_TRASH_DAYS: '1.5',
    CARDEA_LOG_LEVEL: 'loud',
  };
  expect(problems(env)).toEqual([
    'CARDEA_PROFILE must be mini or full, not "huge"',
    'CARDEA_OPS_PORT is not set, and this service needs it',
    'CARDEA_LOG_LEVEL must be none or error or warn or info or debug, not "loud"',
    'CARDEA_PORT must be at most 65535, not "70000"',
    'CARDEA_KEK_URL must be a URL that begins with https://, not "kek"',
    'CARDEA_TRASH_DAYS must be a whole number, not "1.5"',
  ]);
  expect(problems({ CARDEA_PORT: 'http' })).toEqual(['CARDEA_PORT must be a whole number, not "http"']);
  expect(problems({ CARDEA_TRASH_DAYS: '0' })).toEqual(['CARDEA_TRASH_DAYS must be at least 1, not "0"']);
});

test.each(['http://kek:8401', 'kek:8401', 'ftp://kek', ''])('another service is asked over TLS only: not %j', (url) => {
  const wrong = `CARDEA_KEK_URL must be a URL that begins with https://, not "${url}"`;
  expect(problems({ CARDEA_KEK_URL: url })).toEqual(url === '' ? [expect.any(String)] : [wrong]);
});

test.each<[string, boolean]>([
  ['redis://redis', true],
  ['rediss://redis:6379/', true],
  ['redis://redis/15', true],
  ['unix:///run/redis.sock', true],
  ['unix:///run/redis.sock?db=3', true],
  ['redis://redis/one', false],
  ['redis://redis/1e1', false],
  ['redis://redis/-1', false],
  ['redis://redis/0/1', false],
  ['redis://redis?db=1', false],
  ['unix:///run/redis.sock?db=', false],
  ['unix:///run/redis.sock?database=1', false],
])('the database in the URL of a Redis is a number: %s is right: %j', (url, isRight) => {
  const wrong = 'CARDEA_REDIS_URL must name its database by a number: redis://host/0 or unix:///path?db=0';
  expect(problems({ CARDEA_REDIS_URL: url })).toEqual(isRight ? [] : [wrong]);
});

test.each(['1e3', '0x10', ' 5', '5.0', '+5'])('a number is written in digits: %j', (text) => {
  expect(problems({ CARDEA_TRASH_DAYS: text })).toEqual([`CARDEA_TRASH_DAYS must be a whole number, not "${text}"`]);
});

describe('the address on which a service listens', () => {
  test.each(['0.0.0.0', '::', '2001:db8::1', 'localhost'])('may be %s', (host) => {
    expect(problems({ CARDEA_HOST: host, CARDEA_OPS_HOST: host })).toEqual([]);
  });

  test.each(['1.2.3', '1', '0x7f.1', 'cardea.example', '127.0.0.1:8400', '[::1]'])('is not %s', (host) => {
    const rule = 'must be an IP address of this machine, or localhost';
    expect(problems({ CARDEA_HOST: host, CARDEA_OPS_HOST: host })).toEqual([
      `CARDEA_HOST ${rule}, not "${host}"`,
      `CARDEA_OPS_HOST ${rule}, not "${host}"`,
    ]);
  });
});

test('what profile full needs is reported with what is wrong', () => {
  expect(problems({ CARDEA_PROFILE: 'full', CARDEA_PORT: 'x' })).toEqual([
    'CARDEA_PORT must be a whole number, not "x"',
    'CARDEA_DATABASE_URL is not set, and profile full needs it: PostgreSQL',
  ]);
});

describe('a variable that nothing reads', () => {
  test.each([
    ['CARDEA_TRASH_DAY', 'CARDEA_TRASH_DAYS'],
    ['CARDEA_DATABASE_PASSWORD', 'CARDEA_DATABASE_PASSWORD_FILE'],
    ['CARDEA_LOGLEVEL', 'CARDEA_LOG_LEVEL'],
    ['cardea_port', 'CARDEA_PORT'],
  ])('is refused with the nearest one, and its value is not shown: %s', (name, nearest) => {
    expect(problems({ [name]: 'hunter2' })).toEqual([`${name} is no setting, ${nearest} is the nearest one`]);
  });

  test('of another service is none', () => {
    expect(problems({ CARDEA_AUDIT_PORT: '8402', CARDEA_TEST_POSTGRES_URL: 'postgresql://x', PATH: '/bin' })).toEqual(
      [],
    );
  });
});

test('an empty variable counts as not set', () => {
  expect(problems({ CARDEA_PORT: '', CARDEA_DATABASE_URL: '' })).toEqual([]);
});

describe('the value of a variable that may hold a password', () => {
  test.each(['CARDEA_DATABASE_URL', 'CARDEA_REDIS_URL'])('is not shown: %s', (name) => {
    const [problem, ...others] = problems({ [name]: 'http://cardea:hunter2@host' });
    expect([problem, others]).toEqual([expect.stringMatching(/^CARDEA_\w+ must be a URL that begins with/), []]);
    expect(problem).not.toContain('hunter2');
  });
});

describe('a password in a file', () => {
  const url = 'postgresql://cardea_api@db/cardea';

  test('is read', () => {
    const env = { ...right, CARDEA_DATABASE_URL: url, CARDEA_DATABASE_PASSWORD_FILE: passwordFile };
    expect(readConfig(Settings, env, rules).CARDEA_DATABASE_PASSWORD_FILE).toBe('hunter2');
  });

  test('that is missing, empty or readable by others is reported with the variable and the path', async () => {
    const [empty, shared] = [join(folder, 'empty'), join(folder, 'shared')];
    await writeFile(empty, '', { mode: 0o400 });
    await writeFile(shared, 'hunter2', { mode: 0o644 });
    const env = { CARDEA_DATABASE_URL: url, CARDEA_REDIS_URL: 'redis://redis' };
    const files = { CARDEA_DATABASE_PASSWORD_FILE: join(folder, 'none'), CARDEA_REDIS_PASSWORD_FILE: empty };
    expect(problems({ ...env, ...files })).toEqual([
      `CARDEA_DATABASE_PASSWORD_FILE: the file ${folder}/none cannot be read, because it is not there (ENOENT): correct the path`,
      `CARDEA_REDIS_PASSWORD_FILE: the file ${empty} is empty`,
    ]);
    expect(problems({ ...env, CARDEA_DATABASE_PASSWORD_FILE: shared })).toEqual([
      `CARDEA_DATABASE_PASSWORD_FILE: the file ${shared} can be read by other users of this machine: run chmod 400 ${shared}`,
    ]);
  });

  test('contradicts one in the URL, and needs a URL', () => {
    const file = { CARDEA_DATABASE_PASSWORD_FILE: passwordFile };
    expect(problems(file)).toEqual(['CARDEA_DATABASE_PASSWORD_FILE is set, but CARDEA_DATABASE_URL is not']);
    const both = problems({ ...file, CARDEA_DATABASE_URL: 'postgresql://cardea_api:secret@db/cardea' });
    expect(both).toEqual([
      expect.stringMatching(/^CARDEA_DATABASE_URL holds a password, and .* remove the one in the/),
    ]);
  });
});

describe('a file of certificates', () => {
  let caFile: string;
  beforeAll(async () => {
    caFile = join(folder, 'ca.pem');
    await writeFile(caFile, '-----BEGIN CERTIFICATE-----\n', { mode: 0o644 });
  });

  test('may be read by others, and must hold a certificate', () => {
    expect(problems({ CARDEA_DATABASE_URL: 'postgresql://a@db/c', CARDEA_DATABASE_CA_FILE: caFile })).toEqual([]);
    const wrong = { CARDEA_DATABASE_CA_FILE: passwordFile, CARDEA_REDIS_CA_FILE: join(folder, 'none') };
    expect(problems(wrong)).toEqual([
      `CARDEA_DATABASE_CA_FILE: the file ${passwordFile} holds no certificate (PEM)`,
      `CARDEA_REDIS_CA_FILE: the file ${folder}/none cannot be read, because it is not there (ENOENT): correct the path`,
    ]);
  });

  test.each([
    ['postgresql://a@db/c?sslmode=require', /has sslmode, and CARDEA_DATABASE_CA_FILE says it too/],
    ['postgresql://a@localhost/c?host=/run/postgresql', /is a socket of this machine/],
  ])('contradicts the URL %s', (url, problem) => {
    expect(problems({ CARDEA_DATABASE_URL: url, CARDEA_DATABASE_CA_FILE: caFile })).toEqual([
      expect.stringMatching(problem),
    ]);
  });

  test('needs a Redis URL with TLS', () => {
    expect(problems({ CARDEA_REDIS_URL: 'redis://redis', CARDEA_REDIS_CA_FILE: caFile })).toEqual([
      'CARDEA_REDIS_URL must begin with rediss://, because CARDEA_REDIS_CA_FILE asks for TLS',
    ]);
  });
});
