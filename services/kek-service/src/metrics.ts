import { createMetrics } from '@cardea/process/metrics';
import type { Metrics } from '@cardea/process/metrics';
import { Counter, Gauge } from 'prom-client';
import type { SealState } from './seal-state.ts';
import type { UnwrapBudget } from './unwrap-budget.ts';

/** The metrics that only kek-service has. */
export interface KekMetrics extends Metrics {
  /** Counts DEKs, not batches. */
  dekOperations: Counter<'operation'>;
  handshakesRefused: Counter;
}

export function createKekMetrics(seal: SealState, budget: UnwrapBudget): KekMetrics {
  const metrics = createMetrics('kek-service');
  const registers = [metrics.registry];
  metrics.registry.registerMetric(
    new Gauge({
      name: 'cardea_sealed',
      help: '1 while kek-service holds no usable KEK.',
      registers: [],
      collect() {
        this.set(seal.isSealed() ? 1 : 0);
      },
    }),
  );
  metrics.registry.registerMetric(
    new Gauge({
      name: 'cardea_unwraps_frozen',
      help: '1 while a service may not unwrap, because it went beyond its budget.',
      labelNames: ['peer'],
      registers: [],
      collect() {
        this.reset();
        for (const peer of budget.frozen()) this.set({ peer }, 1);
      },
    }),
  );
  return {
    ...metrics,
    dekOperations: new Counter({
      name: 'cardea_dek_operations_total',
      help: 'DEKs wrapped, unwrapped and rewrapped.',
      labelNames: ['operation'],
      registers,
    }),
    handshakesRefused: new Counter({
      name: 'cardea_tls_handshakes_refused_total',
      help: 'TLS handshakes that were refused or given up.',
      registers,
    }),
  };
}
