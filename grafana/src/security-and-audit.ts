import { RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import type { DashboardBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import { emptyDashboard, labelVariable } from './empty-dashboard.ts';
import { panel } from './panels.ts';

const of = 'instance=~"$instance"';

/** Who is refused, and is everything recorded? */
export function securityAndAudit(): DashboardBuilder {
  return emptyDashboard({
    uid: 'cardea-security',
    title: 'Security and audit',
    description: 'Who is refused, and is everything recorded?',
  })
    .withVariable(
      labelVariable({ name: 'instance', label: 'Instance', metric: 'cardea_certificate_expiry_timestamp_seconds' }),
    )
    .withRow(new RowBuilder('Security').id(100))
    .withPanel(
      panel({
        id: 1,
        title: 'Refusals',
        description: 'Refused requests, by the code of the error. The audit log has a record of each.',
        queries: [[`sum by (code) (rate(cardea_refusals_total{${of}}[$__rate_interval])) > 0`, '{{code}}']],
        unit: 'reqps',
        alerts: ['CardeaDenials'],
      }),
    )
    .withPanel(
      panel({
        id: 2,
        title: 'Suspicious input',
        description: 'Requests that no honest client sends, by the rule that they tripped. In each interval.',
        queries: [[`sum by (rule) (increase(cardea_suspicious_total{${of}}[$__rate_interval])) > 0`, '{{rule}}']],
        unit: 'none',
        alerts: ['CardeaSuspiciousInput', 'CardeaAttackSigns'],
      }),
    )
    .withPanel(
      panel({
        id: 3,
        title: 'Refused TLS handshakes',
        description:
          'Something without a certificate of the private CA connected to an internal port. In each interval.',
        queries: [[`sum by (job) (increase(cardea_tls_handshakes_refused_total{${of}}[$__rate_interval]))`, '{{job}}']],
        unit: 'none',
        alerts: ['CardeaHandshakesRefused'],
      }),
    )
    .withPanel(
      panel({
        id: 10,
        title: 'Certificates expire in',
        description: 'Those of services are renewed when 30 days are left.',
        queries: [
          [
            `min by (job, certificate) (cardea_certificate_expiry_timestamp_seconds{${of}} - time())`,
            '{{job}} ({{certificate}})',
          ],
        ],
        unit: 's',
        thresholds: { warning: 21 * 86_400, isLow: true },
        alerts: ['CardeaCertificateExpires'],
      }),
    )
    .withRow(new RowBuilder('Audit log').id(101))
    .withPanel(
      panel({
        id: 4,
        title: 'Time until a record is on disk',
        description:
          'Every answer waits for its record. The time within audit-service is part of what its callers wait.',
        queries: [
          [quantile(0.5, 'cardea_audit_receipt_duration_seconds'), 'p50, callers'],
          ['max(job:cardea_audit_receipt_duration_seconds:p99_rate5m)', 'p99, callers, 5 minutes'],
          [quantile(0.99, 'cardea_audit_append_duration_seconds'), 'p99, audit-service'],
        ],
        unit: 's',
        thresholds: { warning: 0.5 },
        alerts: ['CardeaAuditSlow'],
      }),
    )
    .withPanel(
      panel({
        id: 5,
        title: 'Records that did not get through',
        description:
          'Appends that failed, in each interval, and processes that refuse everything until the log answers.',
        queries: [
          [
            `sum by (job) (increase(cardea_audit_receipt_duration_seconds_count{outcome="failed", ${of}}[$__rate_interval]))`,
            '{{job}}: failed',
          ],
          [`sum by (job) (cardea_audit_unavailable{${of}})`, '{{job}}: refuses everything'],
        ],
        unit: 'none',
        thresholds: { critical: 1 },
        alerts: ['CardeaAuditUnavailable', 'CardeaAuditFailing'],
      }),
    )
    .withPanel(
      panel({
        id: 6,
        title: 'Records that wait',
        description: 'Events that wait in each process, and for how long the oldest record in the outbox is due.',
        queries: [
          [`sum by (job) (cardea_audit_receipts_waiting{${of}})`, '{{job}}'],
          ['max(cardea_audit_waiting_events)', 'audit-service'],
          ['cardea:due_lag_seconds:max{kind="outbox.record"}', 'outbox: seconds'],
        ],
        unit: 'none',
        alerts: ['CardeaAuditBehind'],
      }),
    )
    .withPanel(
      panel({
        id: 7,
        title: 'Entries that are not signed',
        description: 'New entries are signed within 10 seconds.',
        queries: [['max(cardea_audit_entries - cardea_audit_signed_entries)', 'entries']],
        unit: 'none',
        alerts: ['CardeaEntriesUnsigned'],
      }),
    )
    .withPanel(
      panel({
        id: 8,
        title: 'New entries',
        description: 'Events that were acknowledged.',
        queries: [['sum(rate(cardea_audit_appended_events_total[$__rate_interval]))', 'entries']],
        unit: 'ops',
      }),
    )
    .withPanel(
      panel({
        id: 9,
        title: 'Age of the newest checkpoint',
        description: 'A quiet log signs every 10 minutes.',
        queries: [['time() - max(cardea_audit_signed_timestamp_seconds)', 'age']],
        unit: 's',
        thresholds: { critical: 660 },
        alerts: ['CardeaCheckpointSilent'],
      }),
    )
    .withPanel(
      panel({
        id: 12,
        title: 'Age of what the sinks do not have',
        description: 'Time since the oldest entry was written that a sink of the log does not have.',
        queries: [['max by (sink) (cardea_audit_sink_lag_seconds)', '{{sink}}']],
        unit: 's',
        thresholds: { critical: 300 },
        alerts: ['CardeaAuditSinkBehind'],
      }),
    )
    .withPanel(
      panel({
        id: 11,
        title: 'Size of the log',
        description: 'Entries. The log only grows.',
        queries: [['max(cardea_audit_entries)', 'entries']],
        unit: 'short',
      }),
    );
}

function quantile(share: number, histogram: string): string {
  return `histogram_quantile(${share}, sum by (le) (rate(${histogram}_bucket{outcome="acknowledged", ${of}}[$__rate_interval])))`;
}
