import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

/** The metrics of every service. Their names follow Prometheus: base unit last. */
export interface Metrics {
  registry: Registry;
  requestSeconds: Histogram<'method' | 'route' | 'status'>;
  refusals: Counter<'code'>;
  suspicious: Counter<'rule'>;
}

/** Creates the metrics of one service in a new registry, so that several services can run in one process. */
export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  return {
    registry,
    requestSeconds: new Histogram({
      name: 'cardea_http_request_duration_seconds',
      help: 'Time from the first byte of a request to the last byte of its answer.',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
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
