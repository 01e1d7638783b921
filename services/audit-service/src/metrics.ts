import { createMetrics } from '@cardea/process/metrics';
import type { Metrics } from '@cardea/process/metrics';
import { Counter, Gauge } from 'prom-client';
import type { Signer } from './sign/checkpoint.ts';
import type { AppendPool } from './append/pool.ts';

/** The metrics that only audit-service has. */
export interface AuditMetrics extends Metrics {
  /** Counts acknowledged events, including events that the log already had. */
  appendedEvents: Counter;
  handshakesRefused: Counter;
}

export function createAuditMetrics(pool: AppendPool, signer: Signer): AuditMetrics {
  const metrics = createMetrics('audit-service');
  const gauge = (name: string, help: string, read: () => number) =>
    metrics.registry.registerMetric(
      new Gauge({
        name,
        help,
        registers: [],
        collect() {
          this.set(read());
        },
      }),
    );
  gauge('cardea_audit_waiting_events', 'Events that wait for a transaction.', () => pool.waiting());
  gauge('cardea_audit_signed_entries', 'Entries under the newest checkpoint.', () => signer.newest().size);
  gauge(
    'cardea_audit_signed_timestamp_seconds',
    'Time of the newest checkpoint. If it is older than 11 minutes, the signer is stuck.',
    () => Date.parse(signer.newest().signedAt) / 1000,
  );
  const registers = [metrics.registry];
  return {
    ...metrics,
    appendedEvents: new Counter({
      name: 'cardea_audit_appended_events_total',
      help: 'Events that were acknowledged.',
      registers,
    }),
    handshakesRefused: new Counter({
      name: 'cardea_tls_handshakes_refused_total',
      help: 'TLS handshakes that were refused or given up.',
      registers,
    }),
  };
}
