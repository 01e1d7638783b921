import type { TlsIdentity } from '@cardea/http/mtls';
import { addGauge, createMetrics, showCertificates, showDatabases } from '@cardea/process/metrics';
import type { Metrics, ShownDatabase } from '@cardea/process/metrics';
import { Counter, Histogram } from 'prom-client';
import type { AuditStore } from './append/log.ts';
import type { QueryIndex } from './index/query-index.ts';
import type { AppendPool } from './append/pool.ts';
import type { Sinks } from './sinks/open-sinks.ts';
import type { Signer } from './sign/checkpoint.ts';

/** The metrics that only audit-service has. */
export interface AuditMetrics extends Metrics {
  /** Counts acknowledged events, including events that the log already had. */
  appendedEvents: Counter;
  /** From the arrival of the events of a request until they are on disk, or are refused. */
  appendSeconds: Histogram<'outcome'>;
  handshakesRefused: Counter;
}

interface Shown {
  log: Pick<AuditStore, 'size'>;
  index: Pick<QueryIndex, 'size'>;
  pool: AppendPool;
  signer: Signer;
  sinks: Pick<Sinks, 'deliveries'>;
  identity: TlsIdentity;
  /** The one that appends and the one that reads. Both may be the same. */
  databases: { db: ShownDatabase; readDb: ShownDatabase };
}

export function createAuditMetrics({ log, index, pool, signer, sinks, identity, databases }: Shown): AuditMetrics {
  const metrics = createMetrics('audit-service');
  const { registry } = metrics;
  const gauge = (name: string, help: string, read: () => number) => addGauge(registry, { name, help }, read);
  gauge('cardea_audit_waiting_events', 'Events that wait for a transaction.', () => pool.waiting());
  gauge('cardea_audit_entries', 'Entries of the log.', () => log.size());
  gauge('cardea_audit_indexed_entries', 'Entries in the index that questions use.', () => index.size());
  gauge('cardea_audit_signed_entries', 'Entries under the newest checkpoint.', () => signer.newest().size);
  gauge(
    'cardea_audit_signed_timestamp_seconds',
    'Time of the newest checkpoint. If it is older than 11 minutes, the signer is stuck.',
    () => Date.parse(signer.newest().signedAt) / 1000,
  );
  const ofSinks = (name: string, help: string, read: (delivery: Sinks['deliveries'][number]) => number) =>
    addGauge(registry, { name, help, label: 'sink' }, () => sinks.deliveries.map((one) => [one.name, read(one)]));
  ofSinks('cardea_audit_sink_lag_entries', 'Entries that a sink does not have.', (sink) => sink.lag().entries);
  ofSinks(
    'cardea_audit_sink_lag_seconds',
    'Time since the oldest entry was written that a sink does not have.',
    (sink) => sink.lag().seconds,
  );
  showCertificates(registry, () => identity.current());
  showDatabases(registry, [...new Set([databases.db, databases.readDb])]);
  const registers = [registry];
  const appendSeconds = new Histogram({
    name: 'cardea_audit_append_duration_seconds',
    help: 'Time from the arrival of the events of a request until they are on disk, or are refused.',
    labelNames: ['outcome'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  });
  for (const outcome of ['acknowledged', 'failed']) appendSeconds.zero({ outcome });
  return {
    ...metrics,
    appendedEvents: new Counter({
      name: 'cardea_audit_appended_events_total',
      help: 'Events that were acknowledged.',
      registers,
    }),
    appendSeconds,
    handshakesRefused: new Counter({
      name: 'cardea_tls_handshakes_refused_total',
      help: 'TLS handshakes that were refused or given up.',
      registers,
    }),
  };
}
