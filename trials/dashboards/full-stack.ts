import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureCertificates } from '@cardea/deploy/certificates';
import type { ChildSpec } from '@cardea/deploy/child';
import { planMini } from '@cardea/deploy/mini';
import { startNginx } from '@cardea/testkit/nginx';
import type { NginxServer } from '@cardea/testkit/nginx';
import { startPostgres, startRedis } from '@cardea/testkit/servers';
import type { PostgresServer, RedisServer } from '@cardea/testkit/servers';
import { findPorts, root, testEnvironment } from '../kill/cardea.ts';
import { keepRunning } from '../rotation/kept-process.ts';
import type { KeptProcess } from '../rotation/kept-process.ts';

const START_WITHIN_MS = 60_000;

// After the port of api-service. Those of the first api-service, kek-service and audit-service are as in profile mini.
const offsets = { worker: 3, secondApi: 4, secondApiOps: 5, opsOfMini: 10 };

/** Profile full behind nginx: two api-services and one worker, on a PostgreSQL and a Redis of their own. */
export interface FullStack {
  /** The URL of nginx. */
  url: string;
  kekUrl: string;
  tlsDir: string;
  password: string;
  nginx: NginxServer;
  postgres: PostgresServer;
  redis: RedisServer;
  databases: { api: string; audit: string };
  /** `host:port` of each process's health and metrics, by the job of prometheus.yml. */
  targets: Record<'api-service' | 'worker' | 'kek-service' | 'audit-service', string[]>;
  /** Kills a process, which starts again at once. Resolves when it is ready. */
  restart(name: string): Promise<void>;
  /** Stops a process from running for so long. */
  pause(name: string, ms: number): Promise<void>;
  /** Stops a process for good. */
  stopProcess(name: string): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the stack with its keys and its log in `folder`. */
export async function startFullStack(folder: string): Promise<FullStack> {
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
  const [api, audit] = await Promise.all([postgres.createDatabase(), postgres.createDatabase()]);
  const port = await findPorts();
  const dataDir = join(folder, 'data');
  await ensureCertificates(join(dataDir, 'tls'), new Date());
  const env = testEnvironment({ dataDir, port });
  const log = openSync(join(folder, 'log'), 'a', 0o600);
  const kept = new Map<string, KeptProcess>();
  const untilReady = async () => {
    const deadline = performance.now() + START_WITHIN_MS;
    while ([...kept.values()].some(({ isReady }) => !isReady)) {
      if (performance.now() > deadline) throw new Error('a service is not ready in time');
      await sleep(20);
    }
  };
  for (const stage of planStages(env, { port, api, audit, redis: redis.url })) {
    for (const spec of stage) kept.set(spec.name, keepRunning(spec, { log, onEnd: () => undefined }));
    await untilReady();
  }
  const nginx = await startNginx(planMini(env, root).url);
  const at = (offset: number) => `127.0.0.1:${port + offset}`;
  const { worker, secondApiOps, opsOfMini } = offsets;
  return {
    url: nginx.url,
    kekUrl: `https://${at(1)}`,
    tlsDir: join(dataDir, 'tls'),
    password: readFileSync(join(dataDir, 'initial-admin-password'), 'utf8').trim(),
    nginx,
    postgres,
    redis,
    databases: { api, audit },
    targets: {
      'api-service': [at(opsOfMini), at(secondApiOps)],
      worker: [at(worker)],
      'kek-service': [at(opsOfMini + 1)],
      'audit-service': [at(opsOfMini + 2)],
    },
    async restart(name) {
      await kept.get(name)!.kill();
      await untilReady();
    },
    pause: (name, ms) => kept.get(name)!.pause(ms),
    async stopProcess(name) {
      await kept.get(name)!.stop();
      kept.delete(name);
    },
    async stop() {
      for (const process of [...kept.values()].toReversed()) await process.stop();
      await Promise.all([nginx.stop(), postgres.stop(), redis.stop()]);
      closeSync(log);
    },
  };
}

/** The services of profile mini on PostgreSQL and Redis, a second api-service and a worker. */
function planStages(
  env: NodeJS.ProcessEnv,
  { port, api, audit, redis }: { port: number; api: string; audit: string; redis: string },
): ChildSpec[][] {
  const [keys = [], [mini] = []] = planMini(env, root).stages;
  const inFull = (spec: ChildSpec, database: string, own: Record<string, string> = {}): ChildSpec => ({
    ...spec,
    env: {
      ...spec.env,
      CARDEA_PROFILE: 'full',
      CARDEA_DATABASE_URL: database,
      CARDEA_REDIS_URL: redis,
      CARDEA_TEST_ALLOW_FSYNC_OFF: 'true',
      CARDEA_TRUSTED_PROXIES: '1',
      ...limitsOf(env),
      ...own,
    },
  });
  const at = (offset: number) => String(port + offset);
  const second = { CARDEA_PORT: at(offsets.secondApi), CARDEA_OPS_PORT: at(offsets.secondApiOps) };
  const worker = { ...mini!, name: 'worker', script: join(root, 'services', 'worker', 'src', 'main.ts') };
  return [
    keys.map((spec) => inFull(spec, audit)),
    [inFull(mini!, api)],
    [
      inFull({ ...mini!, name: 'api-service-2' }, api, second),
      inFull(worker, api, { CARDEA_OPS_PORT: at(offsets.worker) }),
    ],
  ];
}

function limitsOf(env: NodeJS.ProcessEnv): Record<string, string> {
  const names = Object.keys(env).filter((name) => name.startsWith('CARDEA_') && /_PER_|LOG_LEVEL/.test(name));
  return Object.fromEntries(names.map((name) => [name, env[name] ?? '']));
}
