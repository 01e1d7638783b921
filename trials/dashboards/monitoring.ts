import { chownSync, cpSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFreePort } from '@cardea/testkit/servers';
import { findServer, ready, startGuarded, stop, temporaryFolder } from '@cardea/testkit/servers';
import { parse, stringify } from 'yaml';
import { root } from '../kill/cardea.ts';
import type { FullStack } from './full-stack.ts';

/** The exporters, Alertmanager and Prometheus, with the project's configuration. */
export interface Monitoring {
  prometheusUrl: string;
  stop(): Promise<void>;
}

interface Server {
  address: string;
  stop(): Promise<void>;
}

/**
 * Starts the exporters of Debian, Alertmanager, and Prometheus with prometheus/prometheus.yml, of which only the targets
 * and the intervals are changed: it scrapes each second, so that the trial need not wait for minutes.
 */
export async function startMonitoring({ opsAddresses, nginx, stores }: FullStack): Promise<Monitoring> {
  const servers: Server[] = [];
  const start = async (server: Promise<Server>) => {
    servers.push(await server);
    return servers.at(-1)!.address;
  };
  const exporter = (kind: string, words: (at: string) => string[], env?: string) =>
    start(startServer(`prometheus-${kind}-exporter`, `prometheus-${kind}-exporter`, { words, probe: '/metrics', env }));
  const exporters = {
    postgres: await exporter('postgres', dashes, `DATA_SOURCE_NAME=${toDsn(stores.postgres.url)}`),
    redis: await exporter('redis', (at) => [`-web.listen-address=${at}`, `-redis.addr=${stores.redis.url}`]),
    nginx: await exporter('nginx', (at) => [`-web.listen-address=${at}`, `-nginx.scrape-uri=${nginx.statusUrl}`]),
    node: await exporter('node', dashes),
  };
  const alertmanager = await start(startAlertmanager());
  const all = Object.fromEntries(Object.entries({ ...exporters, alertmanager }).map(([job, at]) => [job, [at]]));
  const prometheus = await start(startPrometheus({ ...opsAddresses, ...all }, alertmanager));
  return {
    prometheusUrl: `http://${prometheus}`,
    async stop() {
      for (const server of servers.toReversed()) await server.stop();
    },
  };
}

function dashes(at: string): string[] {
  return [`--web.listen-address=${at}`];
}

function startAlertmanager(): Promise<Server> {
  const config = readFileSync(join(root, 'prometheus/alertmanager.yml'), 'utf8');
  return startServer('prometheus-alertmanager', 'prometheus-alertmanager', {
    files: (folder) => writeFileSync(join(folder, 'alertmanager.yml'), config),
    words: (at, folder) => [
      `--config.file=${folder}/alertmanager.yml`,
      `--web.listen-address=${at}`,
      `--storage.path=${folder}/data`,
      '--cluster.listen-address=',
    ],
    probe: '/-/ready',
  });
}

interface PrometheusConfig {
  global: Record<string, unknown>;
  alerting: { alertmanagers: { static_configs: { targets: string[] }[] }[] };
  scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[];
}

function startPrometheus(targets: Record<string, readonly string[]>, alertmanager: string): Promise<Server> {
  const source = join(root, 'prometheus');
  return startServer('prometheus', 'prometheus', {
    files(folder, at) {
      const config = parse(readFileSync(join(source, 'prometheus.yml'), 'utf8')) as PrometheusConfig;
      Object.assign(config.global, { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' });
      config.alerting.alertmanagers = [{ static_configs: [{ targets: [alertmanager] }] }];
      const known: Record<string, readonly string[]> = { ...targets, prometheus: [at] };
      for (const job of config.scrape_configs) {
        const found = known[job.job_name];
        if (!found) throw new Error(`the trial has no target for the job ${job.job_name}`);
        job.static_configs = [{ targets: [...found] }];
      }
      const rules = join(folder, 'rules');
      mkdirSync(rules);
      cpSync(join(source, 'rules'), rules, { recursive: true });
      // The guard of the server, which is another user, removes the folder.
      const { uid, gid } = statSync(folder);
      chownSync(rules, uid, gid);
      writeFileSync(join(folder, 'prometheus.yml'), stringify(config));
    },
    words: (at, folder) => [
      `--config.file=${folder}/prometheus.yml`,
      `--web.listen-address=${at}`,
      `--storage.tsdb.path=${folder}/data`,
      // What Prometheus 3 does by itself: the links of alerts have the port.
      '--enable-feature=expand-external-labels',
    ],
    env: 'CARDEA_GRAFANA_PORT=3000',
    probe: '/-/ready',
  });
}

interface ServerPlan {
  files?(folder: string, at: string): void;
  words(at: string, folder: string): string[];
  /** A path that answers once the server works. */
  probe: string;
  /** `NAME=value` */
  env?: string | undefined;
}

/** Starts one server on a free port, which ends with this process. Installs Debian's package if there is none. */
async function startServer(program: string, packageName: string, plan: ServerPlan): Promise<Server> {
  const binary = findServer(program, packageName);
  const folder = temporaryFolder(program);
  const address = `127.0.0.1:${await findFreePort()}`;
  plan.files?.(folder, address);
  const environment = plan.env === undefined ? [] : ['/usr/bin/env', plan.env];
  const guard = startGuarded(folder, 'TERM', [...environment, binary, ...plan.words(address, folder)]);
  await ready(guard, folder, async () => {
    const answer = await fetch(`http://${address}${plan.probe}`);
    if (!answer.ok) throw new Error(`${program} answers ${answer.status}`);
  });
  return { address, stop: () => stop(guard) };
}

/** The driver of the exporter takes the folder of a socket only as `host=…`. */
function toDsn(url: string): string {
  const { searchParams, username, pathname } = new URL(url);
  return `user=${username} dbname=${pathname.slice(1)} host=${searchParams.get('host')} sslmode=disable`;
}
