import { RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import type { DashboardBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import { emptyDashboard, labelVariable } from './empty-dashboard.ts';
import { panel } from './panels.ts';

const of = 'instance=~"$instance"';

// An operation is what follows the colon: `…/keys/{name}:encrypt`.
const keyUses = `job="api-service", route=~".*/keys/.*:.*", ${of}`;

/** What is done with secrets and keys? */
export function secretsAndKeys(): DashboardBuilder {
  return emptyDashboard({
    uid: 'cardea-keys',
    title: 'Secrets and keys',
    description: 'What is done with secrets, keys, DEKs and KEKs.',
  })
    .withVariable(
      labelVariable({ name: 'instance', label: 'Instance', metric: 'cardea_certificate_expiry_timestamp_seconds' }),
    )
    .withRow(new RowBuilder('Secrets').id(100))
    .withPanel(
      panel({
        id: 1,
        title: 'Calls for secrets',
        description: 'Requests to api-service whose path has secrets, by method.',
        queries: [
          [
            `sum by (method) (rate(cardea_http_request_duration_seconds_count{job="api-service", route=~".*/secrets.*", ${of}}[$__rate_interval]))`,
            '{{method}}',
          ],
        ],
        unit: 'reqps',
      }),
    )
    .withPanel(
      panel({
        id: 9,
        title: 'Values read by break-glass',
        description: 'In each interval. Every use should have somebody who expected it.',
        queries: [[`sum(increase(cardea_break_glass_reads_total{${of}}[$__rate_interval]))`, 'values']],
        unit: 'none',
        thresholds: { warning: 1 },
        alerts: ['CardeaBreakGlass'],
      }),
    )
    .withRow(new RowBuilder('Keys').id(103))
    .withPanel(
      panel({
        id: 10,
        title: 'Uses of keys',
        description: 'Calls of each operation. A batch is one call. `:versions` of a key has its own counts.',
        queries: [
          [
            `sum by (route) (rate(cardea_http_request_duration_seconds_count{${keyUses}}[$__rate_interval]))`,
            '{{route}}',
          ],
        ],
        unit: 'reqps',
      }),
    )
    .withPanel(
      panel({
        id: 11,
        title: 'Time of a use of a key',
        description:
          'Half of the calls, and 99 of 100, are faster. RSA-4096 takes milliseconds, and others wait for it.',
        queries: [
          [keyQuantile(0.5), 'p50'],
          [keyQuantile(0.99), 'p99'],
        ],
        unit: 's',
      }),
    )
    .withRow(new RowBuilder('DEKs').id(101))
    .withPanel(
      panel({
        id: 2,
        title: 'DEKs wrapped, unwrapped and rewrapped',
        description: 'By kek-service. A rotation of the KEK rewraps, and a rotation of DEKs wraps and unwraps.',
        queries: [[`sum by (operation) (rate(cardea_dek_operations_total{${of}}[$__rate_interval]))`, '{{operation}}']],
        unit: 'ops',
      }),
    )
    .withPanel(
      panel({
        id: 3,
        title: 'Uses that found the DEK in memory',
        description: 'The rest asked kek-service. Few vaults that are used often give nearly 100 %.',
        queries: [['job:cardea_dek_cache_hits:ratio_rate5m', '{{job}}']],
        unit: 'percentunit',
        max: 1,
      }),
    )
    .withPanel(
      panel({
        id: 4,
        title: 'DEKs in memory',
        description: 'At most 1,024 in each process, for at most 5 minutes each.',
        queries: [[`cardea_dek_cache_deks{${of}}`, '{{job}} {{instance}}']],
        unit: 'none',
      }),
    )
    .withPanel(
      panel({
        id: 5,
        title: 'Frozen unwraps',
        description: '1 while a service may not unwrap, because it went beyond its budget.',
        queries: [[`max by (peer) (cardea_unwraps_frozen{${of}})`, '{{peer}}']],
        unit: 'none',
        thresholds: { critical: 1 },
        alerts: ['CardeaUnwrapsFrozen'],
      }),
    )
    .withRow(new RowBuilder('kek-service').id(102))
    .withPanel(
      panel({
        id: 6,
        title: 'Time of a call to kek-service',
        description: 'Half of the calls, and 99 of 100, are faster.',
        queries: [
          [kekQuantile(0.5), 'p50'],
          [kekQuantile(0.99), 'p99'],
        ],
        unit: 's',
      }),
    )
    .withPanel(
      panel({
        id: 7,
        title: 'Seal',
        description: '1 while kek-service holds no usable KEK.',
        queries: [[`cardea_sealed{${of}}`, '{{instance}}']],
        unit: 'none',
        thresholds: { critical: 1 },
        alerts: ['CardeaSealed'],
      }),
    )
    .withPanel(
      panel({
        id: 8,
        title: 'DEKs that only open values',
        description:
          'They wait for their destruction. Above 0 without a rotation: one was cancelled, or a row does not open.',
        queries: [['max(cardea_rotation_retiring_deks)', 'retiring']],
        unit: 'none',
      }),
    );
}

function keyQuantile(share: number): string {
  const buckets = `cardea_http_request_duration_seconds_bucket{${keyUses}}`;
  return `histogram_quantile(${share}, sum by (le) (rate(${buckets}[$__rate_interval])))`;
}

function kekQuantile(share: number): string {
  const buckets = `cardea_http_request_duration_seconds_bucket{job="kek-service", route!~".*seal-events.*", ${of}}`;
  return `histogram_quantile(${share}, sum by (le) (rate(${buckets}[$__rate_interval])))`;
}
