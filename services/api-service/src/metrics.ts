import { createMetrics } from '@cardea/process/metrics';
import type { Metrics } from '@cardea/process/metrics';
import { Counter } from 'prom-client';

/** What api-service counts beside what every service does. */
export interface ApiMetrics extends Metrics {
  /** Values that oversight was shown. */
  breakGlass: Counter;
}

export function createApiMetrics(): ApiMetrics {
  const metrics = createMetrics('api');
  return {
    ...metrics,
    breakGlass: new Counter({
      name: 'cardea_break_glass_total',
      help: 'Values read by break-glass.',
      registers: [metrics.registry],
    }),
  };
}
