import type { TlsIdentity } from '@cardea/http/mtls';
import { addGauge, createMetrics, showCertificates } from '@cardea/process/metrics';
import type { Metrics } from '@cardea/process/metrics';
import { Counter } from 'prom-client';
import type { SealState } from './seal-state.ts';
import type { UnwrapBudget } from './unwrap-budget.ts';

// The services that may unwrap. Each is shown with 0 before it is frozen for the first time.
const UNWRAPPING = ['api-service', 'worker'];

/** The metrics that only kek-service has. */
export interface KekMetrics extends Metrics {
  /** Counts DEKs, not batches. */
  dekOperations: Counter<'operation'>;
  handshakesRefused: Counter;
}

interface Shown {
  seal: SealState;
  budget: UnwrapBudget;
  identity: TlsIdentity;
}

export function createKekMetrics({ seal, budget, identity }: Shown): KekMetrics {
  const metrics = createMetrics('kek-service');
  const { registry } = metrics;
  addGauge(registry, { name: 'cardea_sealed', help: '1 while kek-service holds no usable KEK.' }, () =>
    seal.isSealed() ? 1 : 0,
  );
  addGauge(
    registry,
    {
      name: 'cardea_unwraps_frozen',
      help: '1 while a service may not unwrap, because it went beyond its budget.',
      label: 'peer',
    },
    () => {
      const frozen = budget.frozen();
      return [...new Set([...UNWRAPPING, ...frozen])].map((peer) => [peer, frozen.includes(peer) ? 1 : 0]);
    },
  );
  showCertificates(registry, () => identity.current());
  const registers = [registry];
  const dekOperations = new Counter({
    name: 'cardea_dek_operations_total',
    help: 'DEKs wrapped, unwrapped and rewrapped.',
    labelNames: ['operation'],
    registers,
  });
  for (const operation of ['wrap', 'unwrap', 'rewrap']) dekOperations.inc({ operation }, 0);
  return {
    ...metrics,
    dekOperations,
    handshakesRefused: new Counter({
      name: 'cardea_tls_handshakes_refused_total',
      help: 'TLS handshakes that were refused or given up.',
      registers,
    }),
  };
}
