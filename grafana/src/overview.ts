import { RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import type { DashboardBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import { emptyDashboard, labelVariable } from './empty-dashboard.ts';
import { panel } from './panels.ts';

const of = 'job=~"$job", instance=~"$instance"';
const COUNT = `cardea_http_request_duration_seconds_count{${of}}`;

/** Is all well, and how much is there to do? */
export function overview(): DashboardBuilder {
  return emptyDashboard({
    uid: 'cardea-overview',
    title: 'Overview',
    description: 'Is all well, and how much is there to do?',
  })
    .withVariable(
      labelVariable({ name: 'job', label: 'Service', metric: 'cardea_http_request_duration_seconds_count' }),
    )
    .withVariable(
      labelVariable({ name: 'instance', label: 'Instance', metric: 'cardea_http_request_duration_seconds_count' }),
    )
    .withRow(new RowBuilder('Is all well?').id(100))
    .withPanel(
      panel({
        id: 1,
        title: 'Seal',
        description: 'While kek-service is sealed, no value can be read or written.',
        queries: [['max(cardea_sealed)', 'sealed']],
        unit: 'none',
        isStat: true,
        thresholds: { critical: 1 },
        texts: { '0': { text: 'open', color: 'green' }, '1': { text: 'SEALED', color: 'red' } },
        alerts: ['CardeaSealed'],
      }),
    )
    .withPanel(
      panel({
        id: 2,
        title: 'Targets down',
        description: 'Processes and exporters that Prometheus does not reach.',
        queries: [['sum(1 - up)', 'down']],
        unit: 'none',
        isStat: true,
        thresholds: { warning: 1 },
        alerts: ['CardeaServiceDown', 'CardeaReplicaDown'],
      }),
    )
    .withPanel(
      panel({
        id: 3,
        title: 'Alerts',
        description: 'Alerts that fire now. Alertmanager lists them.',
        queries: [['count(ALERTS{alertstate="firing"}) or vector(0)', 'firing']],
        unit: 'none',
        isStat: true,
        thresholds: { warning: 1 },
      }),
    )
    .withPanel(
      panel({
        id: 4,
        title: 'Newest checkpoint',
        description: 'Age of the newest signature of the audit log. A quiet log signs every 10 minutes.',
        queries: [['time() - max(cardea_audit_signed_timestamp_seconds)', 'age']],
        unit: 's',
        isStat: true,
        thresholds: { warning: 630, critical: 660 },
        alerts: ['CardeaCheckpointSilent'],
      }),
    )
    .withRow(new RowBuilder('Requests').id(101))
    .withPanel(
      panel({
        id: 5,
        title: 'Requests',
        description: 'Requests of clients (api-service), and of services to each other.',
        queries: [[`sum by (job) (rate(${COUNT}[$__rate_interval]))`, '{{job}}']],
        unit: 'reqps',
      }),
    )
    .withPanel(
      panel({
        id: 6,
        title: 'Failed requests',
        description:
          'Share of the requests that got an answer of 500 and above. 503 says that something is away or sealed.',
        queries: [['job:cardea_http_errors:ratio_rate5m{job=~"$job"}', '{{job}}']],
        unit: 'percentunit',
        thresholds: { critical: 0.01 },
        alerts: ['CardeaErrorRate'],
      }),
    )
    .withPanel(
      panel({
        id: 7,
        title: 'Time of a request to api-service',
        description: 'Half of the requests, 95 and 99 of 100 are faster. Exports and imports are not counted.',
        queries: [
          [quantile(0.5), 'p50'],
          [quantile(0.95), 'p95'],
          ['job:cardea_http_request_duration_seconds:p99_rate5m{job="api-service"}', 'p99, 5 minutes'],
        ],
        unit: 's',
        thresholds: { warning: 1 },
        alerts: ['CardeaLatency'],
      }),
    )
    .withPanel(
      panel({
        id: 8,
        title: 'The slowest routes',
        description: '95 of 100 requests of the route are faster.',
        queries: [
          [
            `topk(10, histogram_quantile(0.95, sum by (route, method, le) (rate(cardea_http_request_duration_seconds_bucket{${of}}[$__rate_interval]))))`,
            '{{method}} {{route}}',
          ],
        ],
        unit: 's',
      }),
    )
    .withPanel(
      panel({
        id: 9,
        title: 'Answers by status',
        description: 'Answers of api-service.',
        queries: [
          [
            'sum by (status) (rate(cardea_http_request_duration_seconds_count{job="api-service", instance=~"$instance"}[$__rate_interval]))',
            '{{status}}',
          ],
        ],
        unit: 'reqps',
      }),
    )
    .withPanel(
      panel({
        id: 10,
        title: 'Requests by route',
        description: 'The ten routes of api-service with the most requests.',
        queries: [
          [
            'topk(10, sum by (method, route) (rate(cardea_http_request_duration_seconds_count{job="api-service", instance=~"$instance"}[$__rate_interval])))',
            '{{method}} {{route}}',
          ],
        ],
        unit: 'reqps',
      }),
    );
}

function quantile(share: number): string {
  const buckets =
    'cardea_http_request_duration_seconds_bucket{job="api-service", instance=~"$instance", route!~".*(export|import).*"}';
  return `histogram_quantile(${share}, sum by (le) (rate(${buckets}[$__rate_interval])))`;
}
