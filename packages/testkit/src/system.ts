import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startApiService } from '@cardea/api-service/start';
import type { RunningApiService } from '@cardea/api-service/start';
import { readApiConfig } from '@cardea/api-service/config';
import { readAuditConfig } from '@cardea/audit-service/config';
import { startAuditService } from '@cardea/audit-service/start';
import type { Role } from '@cardea/contracts/caller';
import type { JobName, JobPayload } from '@cardea/contracts/jobs';
import type { PasswordCost } from '@cardea/crypto/password';
import { ensureCertificates } from '@cardea/deploy/certificates';
import type { Running } from '@cardea/process/run';
import { readKekConfig } from '@cardea/kek-service/config';
import { startKekService } from '@cardea/kek-service/start';
import type { RunningKekService } from '@cardea/kek-service/start';
import type { Db } from '@cardea/storage/db';
import { openPostgres } from '@cardea/storage/postgres';
import { openSqlite } from '@cardea/storage/sqlite';
import type { VaultContext } from '@cardea/vault/context';
import { jobHandlers } from '@cardea/vault/jobs';
import { systemCaller } from '@cardea/vault/system-caller';
import { createUser } from '@cardea/vault/users/users';
import { Person, Stranger } from './person.ts';
import { testDatabase } from './servers.ts';

export type Profile = 'mini' | 'full';

/** Cheap, to make tests fast. The tests of passwords check the real cost. */
const cheapPasswordCost: PasswordCost = { memoryKib: 1_024, passes: 1, parallelism: 1 };
/** The password of alice, bob and carla. */
export const PASSWORD = 'correct horse battery staple';
/** An access token lives for 300 s. A person whose token is older than this signs in again. */
const SIGNED_IN_MS = 240_000;
const people: Record<string, Role> = { alice: 'developer', bob: 'developer', carla: 'ceo' };

/**
 * A whole Cardea in this process. Its services speak mutual TLS to each other on real sockets. It has users (alice and
 * bob are developers, carla is ceo) and its own clock. Profile full has a real PostgreSQL, a real Redis and a worker
 * process.
 */
export interface TestSystem extends AsyncDisposable {
  readonly profile: Profile;
  readonly url: string;
  readonly dataDir: string;
  /** The URL of api-service's health and metrics. */
  readonly opsUrl: string;
  /** Health and metrics of kek-service. */
  readonly kekOpsUrl: string;
  readonly stranger: Stranger;
  /** The context of api-service, for state that is not visible from outside. */
  readonly vault: VaultContext;
  /** The cost of password hashes, from the next start of api-service on. */
  passwordCost: PasswordCost;
  /** Signs in through the front door, unless a recent token is still valid. */
  as(username: 'admin' | 'alice' | 'bob' | 'carla'): Promise<Person>;
  /** Moves the clock of every service forward. */
  passTime(ms: number): void;
  now(): Date;
  /** Runs a job at once, by this clock, as a worker does when the job is due. */
  runJob<N extends JobName>(name: N, payload: JobPayload<N>): Promise<void>;
  /** Opens a new connection to api-service's database, as an attacker with access to the disk could. */
  openDatabase(): Db;
  stopService(name: ServiceName): Promise<void>;
  startService(name: ServiceName): Promise<void>;
  /** Stops everything and starts it again with the data on disk. */
  restart(): Promise<void>;
  environment(name: ServiceName | 'worker'): NodeJS.ProcessEnv;
}

export type ServiceName = 'kek' | 'audit' | 'api';

export async function createTestSystem(profile: Profile, settings: NodeJS.ProcessEnv = {}): Promise<TestSystem> {
  const dataDir = await mkdtemp(join(tmpdir(), 'cardea-system-'));
  const tlsDir = join(dataDir, 'tls');
  await ensureCertificates(tlsDir, new Date());
  const databases =
    profile === 'full' ? { api: await testDatabase(), audit: await testDatabase(), redis: testRedisUrl() } : undefined;

  let offsetMs = 0;
  const now = () => new Date(Date.now() + offsetMs);
  const running = new Map<ServiceName, Running>();
  const signedIn = new Map<string, { person: Person; until: number }>();
  let passwordCost = cheapPasswordCost;
  let worker: ChildProcess | undefined;
  let seeded = false;

  function environment(name: ServiceName | 'worker'): NodeJS.ProcessEnv {
    const databaseUrl = name === 'audit' ? databases?.audit : databases?.api;
    return {
      CARDEA_PROFILE: profile,
      CARDEA_DATA_DIR: dataDir,
      CARDEA_TLS_DIR: tlsDir,
      CARDEA_LOG_LEVEL: 'none',
      CARDEA_OPS_PORT: '0',
      CARDEA_PORT: portOf('api'),
      CARDEA_KEK_PORT: portOf('kek'),
      CARDEA_AUDIT_PORT: portOf('audit'),
      CARDEA_KEK_URL: running.get('kek')?.url,
      CARDEA_AUDIT_URL: running.get('audit')?.url ?? auditUrl,
      CARDEA_SIGN_INS_PER_MINUTE: '100000',
      CARDEA_REQUESTS_PER_MINUTE: '1000000',
      CARDEA_REFUSALS_PER_MINUTE: '1000000',
      ...(databases
        ? {
            CARDEA_DATABASE_URL: databaseUrl,
            CARDEA_REDIS_URL: databases.redis,
            CARDEA_TEST_ALLOW_FSYNC_OFF: 'true',
          }
        : {}),
      ...settings,
    };
  }

  // A service starts again on its previous port, where the other services expect it.
  const ports = new Map<ServiceName, string>();
  let auditUrl: string | undefined;
  const portOf = (name: ServiceName) => ports.get(name) ?? '0';

  const starters: Record<ServiceName, () => Promise<Running>> = {
    kek: () => startKekService(readKekConfig(environment('kek')), { now: () => now().getTime() }),
    audit: () => startAuditService(readAuditConfig(environment('audit')), { now }),
    api: () => startApiService(readApiConfig(environment('api')), { now, passwordCost }),
  };

  async function startService(name: ServiceName): Promise<void> {
    const service = await starters[name]();
    running.set(name, service);
    ports.set(name, new URL(service.url).port);
    if (name === 'audit') auditUrl = service.url;
  }

  async function stopService(name: ServiceName): Promise<void> {
    await running.get(name)?.stop();
    running.delete(name);
  }

  async function start(): Promise<void> {
    for (const name of ['audit', 'kek', 'api'] as const) await startService(name);
    if (profile === 'full') worker = await startWorker({ ...process.env, ...environment('worker') });
    if (!seeded) await seed(running.get('api') as RunningApiService);
    seeded = true;
  }

  async function stop(): Promise<void> {
    if (worker) await stopWorker(worker);
    for (const name of ['api', 'kek', 'audit'] as const) await stopService(name);
    signedIn.clear();
  }

  const api = () => running.get('api') as RunningApiService;
  const url = () => api().url;

  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    profile,
    dataDir,
    get url() {
      return url();
    },
    get opsUrl() {
      return api().opsUrl;
    },
    get kekOpsUrl() {
      return (running.get('kek') as RunningKekService).opsUrl;
    },
    get vault() {
      return api().vault;
    },
    get passwordCost() {
      return passwordCost;
    },
    set passwordCost(cost) {
      passwordCost = cost;
    },
    get stranger() {
      return new Stranger(url());
    },
    async as(username) {
      const known = signedIn.get(username);
      if (known && known.until > now().getTime()) return known.person;
      const password = username === 'admin' ? await initialPassword(dataDir) : PASSWORD;
      const person = await Person.signIn(url(), username, password);
      signedIn.set(username, { person, until: now().getTime() + SIGNED_IN_MS });
      return person;
    },
    passTime: (ms) => void (offsetMs += ms),
    now,
    runJob: (name, payload) => jobHandlers(api().vault)[name](payload),
    openDatabase: () => (databases ? openPostgres(databases.api) : openSqlite(join(dataDir, 'api', 'cardea.db'))),
    startService,
    stopService,
    async restart() {
      await stop();
      await start();
    },
    environment,
    async [Symbol.asyncDispose]() {
      await stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function initialPassword(dataDir: string): Promise<string> {
  return (await readFile(join(dataDir, 'initial-admin-password'), 'utf8')).trim();
}

async function seed({ vault }: RunningApiService): Promise<void> {
  for (const [username, role] of Object.entries(people)) {
    await createUser(vault, systemCaller, { username, role, password: PASSWORD });
  }
}

// Each jest worker gets one of Redis's sixteen databases. Jest numbers its workers from 1.
function testRedisUrl(): string {
  const url = process.env['CARDEA_TEST_REDIS_URL'];
  if (!url) throw new Error('CARDEA_TEST_REDIS_URL is not set: did jest run its globalSetup?');
  return `${url}?db=${process.env['JEST_WORKER_ID'] ?? '1'}`;
}

async function startWorker(env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const main = fileURLToPath(import.meta.resolve('@cardea/worker/main'));
  const worker = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main], {
    env,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const ended = once(worker, 'exit').then(([code]) => {
    throw new Error(`the worker ended with ${String(code)} before it was ready`);
  });
  await Promise.race([once(worker, 'message'), ended]);
  ended.catch(() => {});
  return worker;
}

async function stopWorker(worker: ChildProcess): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return;
  const ended = once(worker, 'exit');
  worker.kill('SIGTERM');
  await ended;
}
