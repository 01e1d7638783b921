import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startApiService } from '@cardea/api-service/start';
import type { RunningApiService } from '@cardea/api-service/start';
import { readApiConfig } from '@cardea/api-service/config';
import { readAuditConfig } from '@cardea/audit-service/config';
import { startAuditService } from '@cardea/audit-service/start';
import type { Role } from '@cardea/contracts/caller';
import type { Endpoint } from '@cardea/contracts/endpoint';
import type { JobName, JobPayload } from '@cardea/contracts/jobs';
import { steadyClock } from '@cardea/contracts/steady-clock';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import type { PasswordCost } from '@cardea/crypto/password';
import { AUDIT_DEADLINE_MS } from '@cardea/http/client/audit-client';
import { readKekConfig } from '@cardea/kek-service/config';
import { startKekService } from '@cardea/kek-service/start';
import type { JobRun } from '@cardea/jobs/queue';
import type { Running } from '@cardea/process/run';
import type { Db } from '@cardea/storage/db';
import { openPostgres } from '@cardea/storage/postgres';
import { openSqlite } from '@cardea/storage/sqlite';
import type { VaultContext } from '@cardea/vault/context';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { jobHandlers } from '@cardea/vault/jobs';
import { systemCaller } from '@cardea/vault/system-caller';
import { createUser } from '@cardea/vault/users/users';
import { Person, Stranger } from './person.ts';
import { findFreePort } from './servers.ts';
import { makeStores } from './stores.ts';
import type { OwnServers, Stores } from './stores.ts';

export type Profile = 'mini' | 'full';
/** For `describe.each` and `test.each`. Most tests use `inEachProfile`. */
export const profiles: readonly Profile[] = ['mini', 'full'];
export type Username = 'admin' | 'alice' | 'bob' | 'carla';
export type ServiceName = 'kek' | 'audit' | 'api';

/** Cheap, to make tests fast. The tests of passwords and passphrases check the real cost. */
const cheapPasswordCost: PasswordCost = { memoryKib: 1_024, passes: 1, parallelism: 1 };
/** How long an append waits for an audit log that the test has stopped. For a running one it waits 5 s, as usual. */
export const STOPPED_DEADLINE_MS = 200;
/** The password of alice, bob and carla. */
export const PASSWORD = 'correct horse battery staple';
/** An access token lives for 300 s. A person whose token is older than this signs in again. */
const SIGNED_IN_MS = 4 * MINUTE_MS;
const people: Record<string, Role> = { alice: 'developer', bob: 'developer', carla: 'ceo' };

/**
 * A whole Cardea in this process. Its services speak mutual TLS to each other on real sockets. It has users (alice and
 * bob are developers, carla is ceo) and its own clock. In profile full it has a real PostgreSQL and a real Redis.
 *
 * Jobs run only by `runJob`. A schedule follows the real clock, and its jobs would change rows while a test compares
 * the new state with the old one. A test of the schedule turns it on with `keepsSchedule`.
 */
export interface TestSystem extends AsyncDisposable {
  readonly profile: Profile;
  readonly url: string;
  readonly dataDir: string;
  /** The URL of api-service's health and metrics. */
  readonly opsUrl: string;
  /** The URL of kek-service's health and metrics. */
  readonly kekOpsUrl: string;
  /** The URL of audit-service's health and metrics. */
  readonly auditOpsUrl: string;
  /** The URL of the worker's health and metrics. A worker runs in profile full, if the system keeps its schedule. */
  readonly workerOpsUrl: string;
  readonly stranger: Stranger;
  /** The context of api-service, for state that is not visible from outside. */
  readonly vault: VaultContext;
  /** Environment variables of this system only. A service reads them when it starts. */
  readonly settings: NodeJS.ProcessEnv;
  /** The endpoints of api-service, in the order of its OpenAPI document. */
  readonly endpoints: readonly Endpoint[];
  /** The cost of password hashes, from the next start of api-service on. */
  passwordCost: PasswordCost;
  /** How long a client may take nothing of its answer, in milliseconds, from the next start of api-service on. */
  unreadMsMax: number | undefined;
  /**
   * True if jobs also run on their schedule, from the next start on: in mini in api-service, in full in a worker
   * process, which uses the real clock. The default is false.
   */
  keepsSchedule: boolean;
  /** Signs in through the front door, unless a recent token is still valid. Returns the same object as `person`. */
  as(username: Username): Promise<Person>;
  /** The person that `as` signs in. It has no token until then. */
  person(username: Username): Person;
  /** Moves the clocks of every service forward, also a stopped one. A negative time sets only the time of day back. */
  passTime(ms: number): void;
  /**
   * Stops the time of day of every service until `startClock`: at a time in milliseconds since 1970, or where it is. Then
   * no lock and no code expires because the machine is slow. What counts by the steady clock goes on.
   */
  stopClock(atMs?: number): void;
  /** Lets the clock go on from where it was stopped. */
  startClock(): void;
  now(): Date;
  steadyMs: SteadyClock;
  /** Runs a job at once, by this clock, as a worker does when the job is due. */
  runJob<N extends JobName>(name: N, payload: JobPayload<N>, run?: Partial<JobRun>): Promise<void>;
  /** Opens a new connection to a database, with all rights, as an attacker with access to the disk could. */
  openDatabase(service?: 'api' | 'audit'): Db;
  stopService(name: ServiceName): Promise<void>;
  /** Ends the worker with SIGKILL and starts another one. */
  replaceWorker(): Promise<void>;
  startService(name: ServiceName): Promise<void>;
  /** Stops everything and starts it again with the data on disk. */
  restart(): Promise<void>;
  environment(name: ServiceName | 'worker'): NodeJS.ProcessEnv;
}

/** A system that is not started yet. Tests may keep a reference to it before `start`. */
export interface PreparedSystem extends TestSystem {
  start(): Promise<void>;
}

/**
 * Starts a system. Profile full needs the servers of jest's global setup, or others in the same environment variables.
 */
export async function createTestSystem(
  profile: Profile,
  settings: NodeJS.ProcessEnv = {},
  servers?: OwnServers,
): Promise<TestSystem> {
  const system = prepareTestSystem(profile, settings, servers);
  await system.start();
  return system;
}

/** Makes a system like `createTestSystem`, without starting it. */
export function prepareTestSystem(
  profile: Profile,
  settings: NodeJS.ProcessEnv = {},
  servers?: OwnServers,
): PreparedSystem {
  let stores: Stores | undefined;
  let offsetMs = 0;
  // What `passTime` has added. It never steps back: nobody can set this clock.
  let passedMs = 0;
  const steadyMs = () => steadyClock() + passedMs;
  let stoppedAt: number | undefined;
  const now = () => new Date(stoppedAt ?? Date.now() + offsetMs);
  const running = new Map<ServiceName, Running>();
  const persons = new Map<Username, Person>();
  const signedInUntil = new Map<Username, number>();
  let passwordCost = cheapPasswordCost;
  let unreadMsMax: number | undefined;
  let keepsSchedule = false;
  let worker: StartedWorker | undefined;
  let seeded = false;

  // A service starts again on its previous port, where the other services expect it.
  const ports = new Map<ServiceName, string>();
  let auditUrl: string | undefined;
  const portOf = (name: ServiceName) => ports.get(name) ?? '0';

  function environment(name: ServiceName | 'worker'): NodeJS.ProcessEnv {
    const { dataDir, tlsDir, databases } = started(stores);
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
      CARDEA_UNWRAP_VAULTS_PER_MINUTE: '1000000',
      ...databases?.settings(name),
      ...settings,
    };
  }

  const auditDeadlineMs = () => (running.has('audit') ? AUDIT_DEADLINE_MS : STOPPED_DEADLINE_MS);

  const starters: Record<ServiceName, () => Promise<Running>> = {
    kek() {
      const overrides = { now: () => now().getTime(), steadyMs, passphraseCost: cheapPasswordCost };
      return startKekService(readKekConfig(environment('kek')), overrides);
    },
    audit: () => startAuditService(readAuditConfig(environment('audit')), { now }),
    api() {
      const overrides = { now, steadyMs, passwordCost, auditDeadlineMs, keepsSchedule, unreadMsMax };
      return startApiService(readApiConfig(environment('api')), overrides);
    },
  };

  async function startService(name: ServiceName): Promise<void> {
    if (!ports.has(name)) ports.set(name, String(await findFreePort()));
    const service = await starters[name]();
    running.set(name, service);
    if (name === 'audit') auditUrl = service.url;
  }

  async function stopService(name: ServiceName): Promise<void> {
    await running.get(name)?.stop();
    running.delete(name);
  }

  async function startAll(): Promise<void> {
    for (const name of ['audit', 'kek', 'api'] as const) await startService(name);
    if (profile === 'full' && keepsSchedule) worker = await startWorker(environment('worker'));
    if (!seeded) await seed(api());
    seeded = true;
  }

  async function stopAll(): Promise<void> {
    if (worker) await stopWorker(worker.process);
    for (const name of ['api', 'kek', 'audit'] as const) await stopService(name);
    signedInUntil.clear();
  }

  function person(username: Username): Person {
    const known = persons.get(username) ?? new Person('');
    persons.set(username, known);
    return known;
  }

  const api = () => started(running.get('api')) as RunningApiService;

  /** In profile full a worker runs the jobs, and its role may do less than that of api-service. */
  async function workerRights(): Promise<AsyncDisposable & { vault: VaultContext }> {
    const { vault } = api();
    const { databases } = started(stores);
    if (!databases) return { vault, async [Symbol.asyncDispose]() {} };
    const db = openPostgres(databases.urlOf('api', 'worker'), { max: 4 });
    return { vault: { ...vault, db }, [Symbol.asyncDispose]: () => db.close() };
  }
  const url = () => api().url;

  return {
    profile,
    settings,
    get dataDir() {
      return started(stores).dataDir;
    },
    get url() {
      return url();
    },
    get opsUrl() {
      return api().opsUrl;
    },
    get kekOpsUrl() {
      return running.get('kek')!.opsUrl;
    },
    get auditOpsUrl() {
      return running.get('audit')!.opsUrl;
    },
    get workerOpsUrl() {
      return started(worker).opsUrl;
    },
    get vault() {
      return api().vault;
    },
    get endpoints() {
      return api().endpoints;
    },
    get passwordCost() {
      return passwordCost;
    },
    set passwordCost(cost) {
      passwordCost = cost;
    },
    get unreadMsMax() {
      return unreadMsMax;
    },
    set unreadMsMax(ms) {
      unreadMsMax = ms;
    },
    get keepsSchedule() {
      return keepsSchedule;
    },
    set keepsSchedule(keeps) {
      keepsSchedule = keeps;
    },
    get stranger() {
      return new Stranger(url());
    },
    async start() {
      stores = await makeStores(profile, servers);
      try {
        await startAll();
      } catch (error) {
        await stopAll();
        throw error;
      }
    },
    async as(username) {
      const leftMs = (signedInUntil.get(username) ?? 0) - now().getTime();
      // After the clock was set back, a session of the future is void.
      if (leftMs <= 0 || leftMs > SIGNED_IN_MS) {
        const password = username === 'admin' ? await initialPassword(started(stores).dataDir) : PASSWORD;
        person(username).continueAs(await Person.signIn(url(), username, password));
        signedInUntil.set(username, now().getTime() + SIGNED_IN_MS);
      }
      return person(username);
    },
    person,
    passTime(ms) {
      offsetMs += ms;
      if (stoppedAt !== undefined) stoppedAt += ms;
      passedMs += Math.max(0, ms);
    },
    stopClock: (atMs = now().getTime()) => void (stoppedAt = atMs),
    startClock() {
      offsetMs = now().getTime() - Date.now();
      stoppedAt = undefined;
    },
    now,
    steadyMs,
    async runJob(name, payload, { signal = new AbortController().signal, done = () => undefined } = {}) {
      await using rights = await workerRights();
      await jobHandlers(rights.vault)[name](payload, { signal, done });
    },
    openDatabase(service = 'api') {
      const { dataDir, databases } = started(stores);
      if (databases) return openPostgres(databases.urlOf(service), { max: 4 });
      return openSqlite(service === 'api' ? join(dataDir, 'api', 'cardea.db') : join(dataDir, 'audit', 'audit.db'));
    },
    startService,
    stopService,
    async replaceWorker() {
      const old = started(worker).process;
      old.kill('SIGKILL');
      if (old.exitCode === null && old.signalCode === null) await once(old, 'exit');
      worker = await startWorker(environment('worker'));
    },
    async restart() {
      await stopAll();
      await startAll();
    },
    environment,
    async [Symbol.asyncDispose]() {
      await stopAll();
      await stores?.[Symbol.asyncDispose]();
    },
  };
}

function started<T>(what: T | undefined): T {
  if (what === undefined) throw new Error('the test system is not started');
  return what;
}

async function initialPassword(dataDir: string): Promise<string> {
  return (await readFile(join(dataDir, 'initial-admin-password'), 'utf8')).trim();
}

async function seed({ vault }: RunningApiService): Promise<void> {
  for (const [username, role] of Object.entries(people)) {
    await createUser(vault, systemCaller, { username, role, password: PASSWORD });
  }
}

interface StartedWorker {
  process: ChildProcess;
  opsUrl: string;
}

async function startWorker(environment: NodeJS.ProcessEnv): Promise<StartedWorker> {
  const main = fileURLToPath(import.meta.resolve('@cardea/worker/main'));
  const worker = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const ended = once(worker, 'exit').then(([code]) => {
    throw new Error(`the worker ended with ${String(code)} before it was ready`);
  });
  const [ready] = (await Promise.race([once(worker, 'message'), ended])) as [{ url: string }];
  ended.catch(() => {});
  return { process: worker, opsUrl: ready.url };
}

async function stopWorker(worker: ChildProcess): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return;
  const ended = once(worker, 'exit');
  worker.kill('SIGTERM');
  await ended;
}
