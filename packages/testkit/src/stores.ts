import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { copyTemplates, makeTemplates, passwordOf, urlOf } from './roles.ts';
import type { DatabaseNames, RoleName } from './roles.ts';
import { emptyTestRedis } from './servers.ts';
import type { PostgresServer, RedisServer } from './servers.ts';

/** The data folder and the databases of a new test system. They are empty except for the certificates. */
export interface Stores extends AsyncDisposable {
  dataDir: string;
  tlsDir: string;
  /** Undefined in profile mini. */
  databases: Databases | undefined;
}

/** The databases of a system of profile full. */
export interface Databases {
  /** A URL without a password, for a role, or for the superuser, whom no service knows. */
  urlOf(database: keyof DatabaseNames, role?: RoleName): string;
  /** The variables with which a service finds its database and Redis. */
  settings(service: 'kek' | 'audit' | 'api' | 'worker'): NodeJS.ProcessEnv;
}

/** Servers of one system. Without them it uses those that jest's global setup has started. */
export interface OwnServers {
  postgres: PostgresServer;
  redis: RedisServer;
  /** The path of the CA that has signed their certificates. With it, everything goes over TLS. */
  caFile: string;
  /** Of the user `cardea` of Redis. */
  redisPassword: string;
}

export async function makeStores(profile: 'mini' | 'full', servers?: OwnServers): Promise<Stores> {
  const root = await mkdtemp(join(tmpdir(), 'cardea-system-'));
  const dataDir = join(root, 'data');
  const tlsDir = join(dataDir, 'tls');
  const [databases] = await Promise.all([
    profile === 'full' ? makeDatabases(join(root, 'passwords'), servers) : undefined,
    makeCertificates(tlsDir),
  ]);
  return {
    dataDir,
    tlsDir,
    databases,
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

async function makeDatabases(folder: string, servers: OwnServers | undefined): Promise<Databases> {
  const superuser = servers?.postgres.url ?? process.env['CARDEA_TEST_POSTGRES_URL'];
  if (!superuser) throw new Error('CARDEA_TEST_POSTGRES_URL is not set: did jest run its globalSetup?');
  const templates = (servers ? undefined : madeTemplates()) ?? (await makeTemplates(superuser));
  const names = await copyTemplates(superuser, templates);
  const passwordFiles = await writePasswords(folder, servers?.redisPassword);
  const redis = servers ? redisOverTls(servers, passwordFiles) : { CARDEA_REDIS_URL: await emptyTestRedis() };

  const serverUrl = servers ? `postgresql://${servers.postgres.tlsHost}/` : superuser;
  const login = (prefix: string, role: RoleName, database: keyof DatabaseNames) => ({
    [`CARDEA_${prefix}_URL`]: urlOf(serverUrl, role, names[database]),
    [`CARDEA_${prefix}_PASSWORD_FILE`]: passwordFiles[role],
  });
  const ca = servers ? { CARDEA_DATABASE_CA_FILE: servers.caFile } : {};
  const common = { ...redis, ...ca, CARDEA_TEST_ALLOW_FSYNC_OFF: 'true' };
  const settings: Record<'kek' | 'audit' | 'api' | 'worker', NodeJS.ProcessEnv> = {
    kek: {},
    api: { ...common, ...login('DATABASE', 'api', 'api') },
    worker: { ...common, ...login('DATABASE', 'worker', 'api') },
    audit: {
      ...common,
      ...login('DATABASE', 'audit_append', 'audit'),
      ...login('READ_DATABASE', 'audit_read', 'audit'),
    },
  };
  return {
    urlOf: (database, role) => urlOf(superuser, role, names[database]),
    settings: (service) => settings[service],
  };
}

type PasswordFiles = Record<RoleName | 'redis', string>;

async function writePasswords(folder: string, redisPassword = ''): Promise<PasswordFiles> {
  const passwords: PasswordFiles = {
    migrate: passwordOf('migrate'),
    api: passwordOf('api'),
    worker: passwordOf('worker'),
    audit_append: passwordOf('audit_append'),
    audit_read: passwordOf('audit_read'),
    exporter: passwordOf('exporter'),
    redis: redisPassword,
  };
  await mkdir(folder, { mode: 0o700 });
  const entries = Object.entries(passwords).map(async ([name, password]) => {
    const path = join(folder, name);
    await writeFile(path, `${password}\n`, { mode: 0o400 });
    return [name, path] as const;
  });
  return Object.fromEntries(await Promise.all(entries)) as PasswordFiles;
}

function redisOverTls({ redis, caFile }: OwnServers, passwordFiles: PasswordFiles): NodeJS.ProcessEnv {
  return {
    CARDEA_REDIS_URL: `rediss://cardea@${redis.tlsHost}`,
    CARDEA_REDIS_PASSWORD_FILE: passwordFiles.redis,
    CARDEA_REDIS_CA_FILE: caFile,
  };
}

/** The names that jest's global setup has put into the environment. A trial that runs without jest has none. */
function madeTemplates(): DatabaseNames | undefined {
  const text = process.env['CARDEA_TEST_POSTGRES_TEMPLATES'];
  return text === undefined ? undefined : (JSON.parse(text) as DatabaseNames);
}

/**
 * Copies the certificates that jest's global setup has made, because making them takes longer than the rest of a start.
 */
async function makeCertificates(tlsDir: string): Promise<void> {
  const made = process.env['CARDEA_TEST_TLS_DIR'];
  if (made !== undefined) return cp(made, tlsDir, { recursive: true });
  const { ensureCertificates } = await import('@cardea/deploy/certificates');
  await ensureCertificates(tlsDir, new Date());
}
