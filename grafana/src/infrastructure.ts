import { RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import type { DashboardBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import { emptyDashboard, labelVariable } from './empty-dashboard.ts';
import { panel } from './panels.ts';

const of = 'job=~"api-service|worker|kek-service|audit-service", instance=~"$instance"';
const disks = 'fstype!~"tmpfs|overlay|squashfs|ramfs|iso9660|fuse.*"';
const instances = '{{job}} {{instance}}';

/** Processes, PostgreSQL, Redis, nginx and the host. */
export function infrastructure(): DashboardBuilder {
  return emptyDashboard({
    uid: 'cardea-infrastructure',
    title: 'Infrastructure',
    description: 'Processes, PostgreSQL, Redis, nginx and the host.',
  })
    .withVariable(
      labelVariable({ name: 'instance', label: 'Instance', metric: 'cardea_certificate_expiry_timestamp_seconds' }),
    )
    .withRow(new RowBuilder('Processes').id(100))
    .withPanel(
      panel({
        id: 1,
        title: 'Who answers Prometheus',
        description: '1 if the process or exporter answers.',
        queries: [['up', instances]],
        unit: 'none',
        alerts: ['CardeaServiceDown', 'CardeaReplicaDown'],
      }),
    )
    .withPanel(
      panel({
        id: 2,
        title: 'CPU',
        description: '100 % is one core. A process of Node uses little more than one.',
        queries: [[`rate(process_cpu_seconds_total{${of}}[$__rate_interval])`, instances]],
        unit: 'percentunit',
      }),
    )
    .withPanel(
      panel({
        id: 3,
        title: 'Memory',
        description: 'Resident memory of each process.',
        queries: [[`process_resident_memory_bytes{${of}}`, instances]],
        unit: 'bytes',
      }),
    )
    .withPanel(
      panel({
        id: 4,
        title: 'Delay of the event loop',
        description: 'Every request waits for so long. 99 of 100 turns since the last scrape were faster.',
        queries: [[`nodejs_eventloop_lag_p99_seconds{${of}}`, instances]],
        unit: 's',
        thresholds: { warning: 0.5 },
        alerts: ['CardeaEventLoopBlocked'],
      }),
    )
    .withPanel(
      panel({
        id: 5,
        title: 'Open file descriptors',
        description: 'Connections and files. Must not grow without end.',
        queries: [[`process_open_fds{${of}}`, instances]],
        unit: 'none',
      }),
    )
    .withPanel(
      panel({
        id: 6,
        title: 'Starts in half an hour',
        description: 'How often a process has started again.',
        queries: [[`changes(process_start_time_seconds{${of}}[30m])`, instances]],
        unit: 'none',
        thresholds: { warning: 3 },
        alerts: ['CardeaRestarting'],
      }),
    )
    .withRow(new RowBuilder('PostgreSQL').id(101))
    .withPanel(
      panel({
        id: 7,
        title: 'Connections of each process',
        description: 'If callers wait, all connections of the pool are in use.',
        queries: [[`sum by (job, state) (cardea_db_connections{${of}})`, '{{job}}: {{state}}']],
        unit: 'none',
        alerts: ['CardeaPoolExhausted'],
      }),
    )
    .withPanel(
      panel({
        id: 8,
        title: 'Transactions',
        description: 'Of the server. Many rollbacks are conflicts of transactions.',
        queries: [
          ['sum(rate(pg_stat_database_xact_commit[$__rate_interval]))', 'commits'],
          ['sum(rate(pg_stat_database_xact_rollback[$__rate_interval]))', 'rollbacks'],
        ],
        unit: 'ops',
      }),
    )
    .withPanel(
      panel({
        id: 19,
        title: 'Transactions of Cardea',
        description:
          'A conflict was rolled back because of another transaction, and ran again: at most 1 in 100 commits.',
        queries: [
          [
            `sum by (job, outcome) (rate(cardea_db_transactions_total{${of}}[$__rate_interval]))`,
            '{{job}}: {{outcome}}',
          ],
        ],
        unit: 'ops',
      }),
    )
    .withPanel(
      panel({
        id: 9,
        title: 'Size of the databases',
        description: 'That of the audit log only grows.',
        queries: [['pg_database_size_bytes{datname!~"template.*|postgres"}', '{{datname}}']],
        unit: 'bytes',
      }),
    )
    .withPanel(
      panel({
        id: 10,
        title: 'PostgreSQL, Redis and nginx answer',
        description: '1 if it answers its exporter.',
        queries: [
          ['pg_up', 'PostgreSQL'],
          ['redis_up', 'Redis'],
          ['nginx_up', 'nginx'],
        ],
        unit: 'none',
        alerts: ['CardeaStoreDown'],
      }),
    )
    .withRow(new RowBuilder('Redis and nginx').id(102))
    .withPanel(
      panel({
        id: 11,
        title: 'Memory of Redis',
        description: 'Jobs and counts of rate limits only.',
        queries: [['redis_memory_used_bytes', 'used']],
        unit: 'bytes',
      }),
    )
    .withPanel(
      panel({
        id: 12,
        title: 'Commands of Redis',
        description: 'In all.',
        queries: [['rate(redis_commands_processed_total[$__rate_interval])', 'commands']],
        unit: 'ops',
      }),
    )
    .withPanel(
      panel({
        id: 13,
        title: 'Connections of nginx',
        description: 'Of clients.',
        queries: [
          ['nginx_connections_active', 'active'],
          ['nginx_connections_waiting', 'idle'],
        ],
        unit: 'none',
      }),
    )
    .withPanel(
      panel({
        id: 14,
        title: 'Requests to nginx',
        description: 'With those that nginx refuses itself.',
        queries: [['rate(nginx_http_requests_total[$__rate_interval])', 'requests']],
        unit: 'reqps',
      }),
    )
    .withRow(new RowBuilder('Host').id(103))
    .withPanel(
      panel({
        id: 15,
        title: 'Room on disks',
        description: 'Share that is free. Without room Cardea refuses every request.',
        queries: [
          [
            `node_filesystem_avail_bytes{${disks}} / node_filesystem_size_bytes{${disks}}`,
            '{{instance}} {{mountpoint}}',
          ],
        ],
        unit: 'percentunit',
        max: 1,
        thresholds: { warning: 0.4, critical: 0.1, isLow: true },
        alerts: ['CardeaDiskFull', 'CardeaDiskFilling'],
      }),
    )
    .withPanel(
      panel({
        id: 16,
        title: 'CPU of the host',
        description: 'Share that is used.',
        queries: [
          ['1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))', '{{instance}}'],
        ],
        unit: 'percentunit',
        max: 1,
      }),
    )
    .withPanel(
      panel({
        id: 17,
        title: 'Memory of the host',
        description: 'Share that is used.',
        queries: [['1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes', '{{instance}}']],
        unit: 'percentunit',
        max: 1,
      }),
    )
    .withPanel(
      panel({
        id: 18,
        title: 'Writes to disks',
        description: 'Time of one write. fsync of the audit log waits for it.',
        queries: [
          [
            'rate(node_disk_write_time_seconds_total[$__rate_interval]) / (rate(node_disk_writes_completed_total[$__rate_interval]) > 0)',
            '{{instance}} {{device}}',
          ],
        ],
        unit: 's',
      }),
    );
}
