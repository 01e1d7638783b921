import { closeSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureCertificates } from '@cardea/deploy/certificates';
import type { ChildSpec } from '@cardea/deploy/child';
import { planMini } from '@cardea/deploy/mini';
import { openPostgres } from '@cardea/storage/postgres';
import { makeTemplates, urlOf } from '@cardea/testkit/roles';
import type { DatabaseNames, RoleName } from '@cardea/testkit/roles';
import { startPostgres, startRedis } from '@cardea/testkit/servers';
import type { PostgresServer, RedisServer } from '@cardea/testkit/servers';
import { findPorts, root, testEnvironment } from '../kill/cardea.ts';
import { Violation } from '../kill/ledger.ts';
import { filesBelow } from './installation.ts';
import type { Installation, Target } from './installation.ts';
import { keepRunning } from './kept-process.ts';
import type { KeptProcess } from './kept-process.ts';

// After the port of api-service. The ports of kek-service and audit-service are as in profile mini.
const WORKER_OPS_PORT = 3;
const SECOND_API_PORT = 4;
const SECOND_API_OPS_PORT = 5;
const OPS_OF_MINI = 10;
const START_WITHIN_MS = 60_000;
/** The name that PostgreSQL gives its unix socket, in the folder that a URL names. */
const SOCKET_OF_POSTGRES = '.s.PGSQL.5432';

/** What services connect to. The log has its own database, on the same PostgreSQL. */
export type Peer = 'PostgreSQL' | 'PostgreSQL of the log' | 'Redis' | 'kek-service' | 'audit-service';

/** The servers and the databases of one installation. */
interface Stores {
  postgres: PostgresServer;
  redis: RedisServer;
  /** The URL of the database of api-service and the worker, for the superuser. */
  api: string;
  /** The same of the database of audit-service. */
  audit: string;
  names: DatabaseNames;
}

/** An installation of profile full. */
export interface FullInstallation extends Installation {
  /** The URL of each api-service. */
  readonly urls: readonly string[];
  /** The addresses of health and metrics, `host:port`, by service. */
  readonly opsAddresses: Readonly<
    Record<'api-service' | 'worker' | 'kek-service' | 'audit-service', readonly string[]>
  >;
  /** Its processes by name. */
  readonly processes: Map<string, KeptProcess>;
  readonly stores: Stores;
}

export interface FullOptions {
  /** Whether PostgreSQL waits for the disk. A trial that cuts no power does without. */
  durable?: boolean;
  /** How many api-services there are. */
  apis?: 1 | 2;
  /** Settings of all services, beside those of trials. */
  settings?: Record<string, string>;
  /**
   * Puts something between the services and a peer, and returns where they connect instead. An address is the path of a
   * unix socket, or `host:port`.
   */
  via?(peer: Peer, address: string): Promise<string>;
}

/**
 * Starts a Cardea of profile full with one worker, its own PostgreSQL and its own Redis. Its keys and its log are in
 * `folder`.
 */
export async function startFull(folder: string, options: FullOptions = {}): Promise<FullInstallation> {
  const { durable = false, apis = 1, settings = {}, via = directly } = options;
  const [postgres, redis] = await Promise.all([startPostgres({ fsync: durable ? 'on' : 'off' }), startRedis()]);
  const names = await makeTemplates(postgres.url);
  const [api, audit] = [urlOf(postgres.url, undefined, names.api), urlOf(postgres.url, undefined, names.audit)];
  const stores = { postgres, redis, api, audit, names };
  const port = await findPorts();
  const dataDir = join(folder, 'data');
  await ensureCertificates(join(dataDir, 'tls'), new Date());
  const env = { ...testEnvironment({ dataDir, port }), ...settings };
  const logFile = join(folder, 'log');
  const log = openSync(logFile, 'a', 0o600);
  const endedByItself = new Map<string, number>();
  const onEnd = (name: string, code: number) => {
    const how = `${name} with ${code}`;
    endedByItself.set(how, (endedByItself.get(how) ?? 0) + 1);
  };
  const kept = new Map<string, KeptProcess>();
  const untilReady = async (withinMs: number) => {
    const deadline = performance.now() + withinMs;
    while ([...kept.values()].some(({ isReady }) => !isReady)) {
      if (performance.now() > deadline) throw new Violation(`not ready in time: ${missing(kept)}`);
      await sleep(10);
    }
  };
  const urls = await peerUrls(stores, port, via);
  for (const stage of planFull(env, urls, names, apis)) {
    for (const spec of stage) kept.set(spec.name, keepRunning(spec, { log, onEnd }));
    await untilReady(START_WITHIN_MS);
  }
  const at = (offset: number) => `127.0.0.1:${port + offset}`;
  return {
    url: planMini(env, root).url,
    opsAddresses: {
      'api-service': [at(OPS_OF_MINI), at(SECOND_API_OPS_PORT)].slice(0, apis),
      worker: [at(WORKER_OPS_PORT)],
      'kek-service': [at(OPS_OF_MINI + 1)],
      'audit-service': [at(OPS_OF_MINI + 2)],
    },
    processes: kept,
    stores,
    urls: [planMini(env, root).url, `http://127.0.0.1:${port + SECOND_API_PORT}`].slice(0, apis),
    kekUrl: `https://127.0.0.1:${port + 1}`,
    dataDir,
    logFile,
    get password() {
      return readFileSync(join(dataDir, 'initial-admin-password'), 'utf8').trim();
    },
    targets: ['api-service', 'worker', 'kek-service', 'PostgreSQL', 'audit-service', 'Redis'],
    endedByItself,
    kill: (target) => killIn({ kept, stores }, target),
    untilReady,
    openDatabase: () => openPostgres(api),
    async listFiles() {
      const data = await Promise.all([filesBelow(folder), filesBelow(postgres.dataFolder)]);
      return [...data.flat(), await redis.save()];
    },
    async stop() {
      for (const process of [...kept.values()].toReversed()) await process.stop();
      await Promise.all([postgres.stop(), redis.stop()]);
      closeSync(log);
    },
  };
}

type PeerUrls = Record<Peer, string>;

const directly: NonNullable<FullOptions['via']> = async (_peer, address) => address;

async function peerUrls(stores: Stores, port: number, via: NonNullable<FullOptions['via']>): Promise<PeerUrls> {
  const database = async (peer: Peer) => {
    const url = new URL(stores.postgres.url);
    const socket = await via(peer, join(url.searchParams.get('host')!, SOCKET_OF_POSTGRES));
    url.searchParams.set('host', dirname(socket));
    return url.href;
  };
  const service = async (peer: Peer, offset: number) => `https://${await via(peer, `127.0.0.1:${port + offset}`)}`;
  return {
    PostgreSQL: await database('PostgreSQL'),
    'PostgreSQL of the log': await database('PostgreSQL of the log'),
    Redis: `unix://${await via('Redis', new URL(stores.redis.url).pathname)}`,
    'kek-service': await service('kek-service', 1),
    'audit-service': await service('audit-service', 2),
  };
}

/** The services of profile mini and a worker, on PostgreSQL and Redis. A stage starts when the one before is ready. */
function planFull(env: NodeJS.ProcessEnv, urls: PeerUrls, names: DatabaseNames, apis: number): ChildSpec[][] {
  const [keys = [], [mini] = []] = planMini(env, root).stages;
  const urlFor = (role: RoleName) =>
    role.startsWith('audit')
      ? urlOf(urls['PostgreSQL of the log'], role, names.audit)
      : urlOf(urls.PostgreSQL, role, names.api);
  const inFull = (spec: ChildSpec, role: RoleName): ChildSpec => ({
    ...spec,
    env: {
      ...definedOf(env),
      ...spec.env,
      CARDEA_PROFILE: 'full',
      CARDEA_DATABASE_URL: urlFor(role),
      CARDEA_READ_DATABASE_URL: urlFor('audit_read'),
      CARDEA_REDIS_URL: urls.Redis,
      CARDEA_KEK_URL: urls['kek-service'],
      CARDEA_AUDIT_URL: urls['audit-service'],
      CARDEA_TEST_ALLOW_FSYNC_OFF: 'true',
    },
  });
  const first = keys.map((spec) => inFull(spec, 'audit_append'));
  const front = inFull(mini!, 'api');
  const portAfter = (offset: number) => String(Number(front.env['CARDEA_PORT']) + offset);
  const ports = { CARDEA_PORT: portAfter(SECOND_API_PORT), CARDEA_OPS_PORT: portAfter(SECOND_API_OPS_PORT) };
  const second = { ...front, name: 'api-service-2', env: { ...front.env, ...ports } };
  const worker = {
    ...front,
    name: 'worker',
    script: join(root, 'services', 'worker', 'src', 'main.ts'),
    env: { ...front.env, CARDEA_DATABASE_URL: urlFor('worker'), CARDEA_OPS_PORT: portAfter(WORKER_OPS_PORT) },
  };
  return [first, [front], apis === 1 ? [worker] : [second, worker]];
}

function definedOf(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function missing(kept: ReadonlyMap<string, KeptProcess>): string {
  return [...kept.values()]
    .filter(({ isReady }) => !isReady)
    .map(({ name }) => name)
    .join(', ');
}

async function killIn(
  { kept, stores }: { kept: ReadonlyMap<string, KeptProcess>; stores: Stores },
  target: Target,
): Promise<void> {
  if (target === 'PostgreSQL') return stores.postgres.crash();
  if (target === 'Redis') return stores.redis.flush();
  await kept.get(target)!.kill();
}
