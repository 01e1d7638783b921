import { X509Certificate } from 'node:crypto';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

import type { Logger } from './logger.ts';
import { oncePerCause } from './once-per-cause.ts';
import type { OncePerCause } from './once-per-cause.ts';
import { version } from './version.ts';

/** The metrics of every service that answers requests. Their names follow Prometheus: base unit last. */
export interface Metrics {
  registry: Registry;
  requestSeconds: Histogram<'method' | 'route' | 'status'>;
  refusals: Counter<'code'>;
  suspicious: Counter<'rule'>;
}

/** Creates a registry with the metrics of the process. Each service has its own, so that several can run in one process. */
export function createRegistry(service: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  const build = { name: 'cardea_build_info', help: 'The version of Cardea. The value is always 1.', label: 'version' };
  addGauge(registry, build, () => [[version, 1]]);
  return registry;
}

/** Creates the metrics of a service that answers requests, in a new registry. */
export function createMetrics(service: string): Metrics {
  const registry = createRegistry(service);
  return {
    registry,
    requestSeconds: new Histogram({
      name: 'cardea_http_request_duration_seconds',
      help: 'Time from the first byte of a request to the last byte of its answer.',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers: [registry],
    }),
    refusals: new Counter({
      name: 'cardea_refusals_total',
      help: 'Refused requests, by error code.',
      labelNames: ['code'],
      registers: [registry],
    }),
    suspicious: new Counter({
      name: 'cardea_suspicious_total',
      help: 'Input dropped as suspicious, by the rule it tripped.',
      labelNames: ['rule'],
      registers: [registry],
    }),
  };
}

/** Adds a gauge that is read when the metrics are. `read` may return a value for each value of one label. */
export function addGauge<L extends string>(
  registry: Registry,
  { name, help, label }: { name: string; help: string; label?: L },
  read: () => number | Iterable<[string, number]>,
): void {
  registry.registerMetric(
    new Gauge<string>({
      name,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [],
      collect() {
        const values = read();
        if (typeof values === 'number') return this.set(values);
        this.reset();
        for (const [value, count] of values) this.set({ [label!]: value }, count);
      },
    }),
  );
}

/** Adds a counter of something that is counted elsewhere. `read` gives the count since the start, for each label value. */
export function addCounter(
  registry: Registry,
  { name, help, label }: { name: string; help: string; label: string },
  read: () => Iterable<[string, number]>,
): void {
  registry.registerMetric(
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [],
      collect() {
        this.reset();
        for (const [value, count] of read()) this.inc({ [label]: value }, count);
      },
    }),
  );
}

/**
 * Shows when certificates expire. `read` gives the PEM of the service's own and of its CA, and those of servers that show
 * none of their own, by name. One of a server that cannot be read counts as expired in 1970.
 */
export function showCertificates(
  registry: Registry,
  read: () => { cert: string; ca: string; servers?: Record<string, string> },
): void {
  addGauge(
    registry,
    {
      name: 'cardea_certificate_expiry_timestamp_seconds',
      help: 'When a certificate expires: of the service, of the private CA, or of a server beside it.',
      label: 'certificate',
    },
    () => {
      const { cert, ca, servers = {} } = read();
      const ofServers = Object.entries(servers).map(([name, pem]) => [name, expiryOrZero(pem)] as [string, number]);
      return [['service', expiryOf(cert)], ['ca', expiryOf(ca)], ...ofServers];
    },
  );
}

// A scrape that fails because of the file of another server would hide everything else.
function expiryOrZero(pem: string): number {
  try {
    return expiryOf(pem);
  } catch {
    return 0;
  }
}

function expiryOf(pem: string): number {
  return new X509Certificate(pem).validToDate.getTime() / 1000;
}

/** What a database of PostgreSQL shows of its pool. One of SQLite has neither. */
export interface ShownDatabase {
  connections?(): { open: number; idle: number; waiting: number };
  outcomes?(): { committed: number; conflict: number; failed: number };
}

/** Shows the pools of connections to PostgreSQL of a process, added up, and how their transactions have ended. */
export function showDatabases(registry: Registry, databases: readonly ShownDatabase[]): void {
  const pools = databases.filter(({ connections }) => connections !== undefined);
  if (pools.length === 0) return;
  addGauge(
    registry,
    {
      name: 'cardea_db_connections',
      help: 'Connections to PostgreSQL of this process: active, idle, and callers that wait for one.',
      label: 'state',
    },
    () => {
      const figures = pools.map((pool) => pool.connections!());
      return [
        ['active', sum(figures.map(({ open, idle }) => open - idle))],
        ['idle', sum(figures.map(({ idle }) => idle))],
        ['waiting', sum(figures.map(({ waiting }) => waiting))],
      ];
    },
  );
  addCounter(
    registry,
    {
      name: 'cardea_db_transactions_total',
      help: 'Transactions in PostgreSQL: committed, rolled back by a conflict and tried again, and failed.',
      label: 'outcome',
    },
    () => {
      const counts = pools.flatMap((pool) => pool.outcomes?.() ?? []);
      return [
        ['committed', sum(counts.map(({ committed }) => committed))],
        ['conflict', sum(counts.map(({ conflict }) => conflict))],
        ['failed', sum(counts.map(({ failed }) => failed))],
      ];
    },
  );
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

/** Tells in the log why a scrape lacks metrics: each cause once, and once a minute while it goes on. */
export function tellAbsentMetrics(logger: Logger): OncePerCause {
  return oncePerCause((error) => logger.warn('metrics are absent from this scrape', { error }));
}

/**
 * Adds gauges that are read when the metrics are. `helps` has the help of each, by its name. If `read` fails, the
 * gauges have no value, the log says why, and the other metrics are shown all the same. Concurrent collections share
 * one call of `read`.
 */
export function addGauges<N extends string>(
  { registry, logger }: { registry: Registry; logger: Logger },
  helps: Record<N, string>,
  read: () => Promise<Record<N, number>>,
): void {
  const { failed, worked } = tellAbsentMetrics(logger);
  let reading: Promise<Record<N, number> | undefined> | undefined;
  const readAndTell = async () => {
    try {
      const values = await read();
      worked();
      return values;
    } catch (error) {
      failed(error);
      return undefined;
    }
  };
  const readOnce = () => (reading ??= readAndTell().finally(() => (reading = undefined)));
  for (const [name, help] of Object.entries(helps) as [N, string][]) {
    const gauge: Gauge = new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        const values = await readOnce();
        if (values) gauge.set(values[name]);
        else gauge.remove();
      },
    });
  }
}
