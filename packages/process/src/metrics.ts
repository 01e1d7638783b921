import { X509Certificate } from 'node:crypto';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

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

/** Shows when the certificates that a service uses expire. `read` gives the PEM of its own and of its CA. */
export function showCertificates(registry: Registry, read: () => { cert: string; ca: string }): void {
  addGauge(
    registry,
    {
      name: 'cardea_certificate_expiry_timestamp_seconds',
      help: 'When a certificate that the service uses expires: its own, or that of the private CA.',
      label: 'certificate',
    },
    () => {
      const { cert, ca } = read();
      return [
        ['service', expiryOf(cert)],
        ['ca', expiryOf(ca)],
      ];
    },
  );
}

function expiryOf(pem: string): number {
  return new X509Certificate(pem).validToDate.getTime() / 1000;
}

/**
 * Adds gauges that are read when the metrics are. `helps` has the help of each, by its name. If `read` fails, the
 * gauges have no value, and the other metrics are shown all the same. Concurrent collections share one call of `read`.
 */
export function addGauges<N extends string>(
  registry: Registry,
  helps: Record<N, string>,
  read: () => Promise<Record<N, number>>,
): void {
  let reading: Promise<Record<N, number> | undefined> | undefined;
  const readOnce = () =>
    (reading ??= read()
      .catch(() => undefined)
      .finally(() => (reading = undefined)));
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
