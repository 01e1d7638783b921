import { AppError } from '@cardea/contracts/errors';
import type { AppendObserver, AuditClient } from '@cardea/http/client/audit-client';
import type { TlsIdentity } from '@cardea/http/mtls';
import { addCounter, addGauge, showCertificates, showDatabases } from '@cardea/process/metrics';
import type { VaultContext } from '@cardea/vault/context';
import { Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

/** Times how long an event waits for its receipt. Register the observer with the audit client. */
export function createAppendObserver(registry: Registry): AppendObserver {
  const seconds = new Histogram({
    name: 'cardea_audit_receipt_duration_seconds',
    help: 'Time from handing an event to the audit log until it is on disk, or until it is given up.',
    labelNames: ['outcome'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  for (const outcome of ['acknowledged', 'failed']) seconds.zero({ outcome });
  return { ended: (outcome, value) => seconds.observe({ outcome }, value) };
}

/** Shows what a process that works on vaults keeps in memory, its connections, and its certificates. */
export function showVault(
  registry: Registry,
  { vault, audit, identity }: { vault: VaultContext; audit: AuditClient; identity: TlsIdentity },
): void {
  addGauge(
    registry,
    { name: 'cardea_audit_receipts_waiting', help: 'Events of this process that wait for the audit log.' },
    () => audit.waiting(),
  );
  addGauge(
    registry,
    {
      name: 'cardea_audit_unavailable',
      help: '1 while the process refuses everything, because the audit log does not answer or is behind.',
    },
    () => (admits(audit) ? 0 : 1),
  );
  addCounter(
    registry,
    {
      name: 'cardea_dek_cache_requests_total',
      help: 'Uses of the cache of DEKs: hit, or miss. A miss asks kek-service.',
      label: 'result',
    },
    () => {
      const { hits, misses } = vault.deks.figures();
      return [
        ['hit', hits],
        ['miss', misses],
      ];
    },
  );
  addGauge(
    registry,
    { name: 'cardea_dek_cache_deks', help: 'DEKs in the memory of this process. At most 1,024.' },
    () => vault.deks.figures().kept,
  );
  showDatabases(registry, [vault.db]);
  showCertificates(registry, () => ({ ...identity.current(), servers: identity.servers() }));
}

function admits(audit: AuditClient): boolean {
  try {
    audit.admit();
    return true;
  } catch (error) {
    if (error instanceof AppError && error.code === 'unavailable') return false;
    throw error;
  }
}
