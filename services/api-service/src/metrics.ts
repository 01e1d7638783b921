import { createMetrics } from '@cardea/process/metrics';
import type { Metrics } from '@cardea/process/metrics';
import { Counter } from 'prom-client';

/** The metrics of every service, and those of api-service. */
export interface ApiMetrics extends Metrics {
  /** Values that were read by break-glass. */
  breakGlass: Counter;
}

export function createApiMetrics(): ApiMetrics {
  const metrics = createMetrics('api-service');
  return {
    ...metrics,
    breakGlass: new Counter({
      name: 'cardea_break_glass_reads_total',
      help: 'Values read by break-glass.',
      registers: [metrics.registry],
    }),
  };
}
