import { RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import type { DashboardBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import { emptyDashboard, labelVariable } from './empty-dashboard.ts';
import { panel } from './panels.ts';

const of = 'job_name=~"$job_name"';

/** Do keys rotate, and is due work done in time? */
export function rotationAndJobs(): DashboardBuilder {
  return emptyDashboard({
    uid: 'cardea-jobs',
    title: 'Rotation and jobs',
    description: 'Do keys rotate, and is due work done in time?',
  })
    .withVariable(labelVariable({ name: 'job_name', label: 'Job', metric: 'cardea_jobs_running' }))
    .withRow(new RowBuilder('Rotation').id(100))
    .withPanel(
      panel({
        id: 1,
        title: 'Open rotations',
        description: 'A paused one waits for somebody to resume it.',
        queries: [
          ['max(cardea_rotations_running)', 'running'],
          ['max(cardea_rotations_paused)', 'paused'],
        ],
        unit: 'none',
      }),
    )
    .withPanel(
      panel({
        id: 2,
        title: 'Progress of the open rotations',
        description: 'Rows that are sealed again or rewrapped, and rows that are left.',
        queries: [
          ['max(cardea_rotation_rows_done)', 'done'],
          ['max(cardea_rotation_rows_left)', 'left'],
        ],
        unit: 'short',
      }),
    )
    .withPanel(
      panel({
        id: 3,
        title: 'Rows sealed again',
        description: 'By all processes together. 0 while no rotation is open.',
        queries: [['cardea:rotation_rows:rate5m', 'rows']],
        unit: 'ops',
        alerts: ['CardeaRotationStuck'],
      }),
    )
    .withPanel(
      panel({
        id: 4,
        title: 'Age of the oldest open rotation',
        description: '0 while none is open.',
        queries: [['max(cardea_rotation_oldest_open_seconds)', 'age']],
        unit: 's',
      }),
    )
    .withPanel(
      panel({
        id: 5,
        title: 'Rotations that are late',
        description: 'How long the oldest DEK is used beyond its period, and for how long a rotation has been due.',
        queries: [
          ['max(cardea_rotation_dek_overdue_seconds)', 'oldest DEK'],
          ['cardea:due_lag_seconds:max{kind=~"rotation.*"}', '{{kind}}'],
        ],
        unit: 's',
        thresholds: { warning: 3_600 },
        alerts: ['CardeaRotationLate'],
      }),
    )
    .withPanel(
      panel({
        id: 6,
        title: 'Rows that do not open',
        description: 'Each was damaged, moved or planted, and keeps an old key.',
        queries: [['max(cardea_rotation_unopened_rows)', 'rows']],
        unit: 'none',
        thresholds: { critical: 1 },
        alerts: ['CardeaRowsUnopened'],
      }),
    )
    .withRow(new RowBuilder('Due work').id(101))
    .withPanel(
      panel({
        id: 7,
        title: 'For how long work has been due',
        description: 'The oldest of each kind. Work that is due for more than a minute is late.',
        queries: [['cardea:due_lag_seconds:max', '{{kind}}']],
        unit: 's',
        thresholds: { warning: 300 },
        alerts: ['CardeaWorkLate', 'CardeaWorkUnknown'],
      }),
    )
    .withPanel(
      panel({
        id: 8,
        title: 'Jobs that wait',
        description: 'Due, and not begun by any process.',
        queries: [[`max by (job_name) (cardea_jobs_waiting{${of}})`, '{{job_name}}']],
        unit: 'none',
        alerts: ['CardeaQueueStuck'],
      }),
    )
    .withRow(new RowBuilder('Runs').id(102))
    .withPanel(
      panel({
        id: 9,
        title: 'Runs that ended',
        description: 'By outcome. A run is handed back if its process stops.',
        queries: [[`sum by (outcome) (rate(cardea_job_runs_total{${of}}[$__rate_interval]))`, '{{outcome}}']],
        unit: 'ops',
      }),
    )
    .withPanel(
      panel({
        id: 10,
        title: 'Runs that failed',
        description: 'In each interval. The next turn of the schedule tries again.',
        queries: [
          [
            `sum by (job_name) (increase(cardea_job_runs_total{outcome="failed", ${of}}[$__rate_interval]))`,
            '{{job_name}}',
          ],
        ],
        unit: 'none',
        alerts: ['CardeaJobsFailing'],
      }),
    )
    .withPanel(
      panel({
        id: 11,
        title: 'Time of a run',
        description: '95 of 100 runs are faster.',
        queries: [
          [
            `histogram_quantile(0.95, sum by (job_name, le) (rate(cardea_job_duration_seconds_bucket{${of}}[$__rate_interval]))) >= 0`,
            '{{job_name}}',
          ],
        ],
        unit: 's',
      }),
    )
    .withPanel(
      panel({
        id: 12,
        title: 'Items handled',
        description: 'Such as expired secrets, records that were sent again, or rows of a rotation.',
        queries: [[`sum by (job_name) (rate(cardea_job_items_total{${of}}[$__rate_interval]))`, '{{job_name}}']],
        unit: 'ops',
      }),
    )
    .withPanel(
      panel({
        id: 13,
        title: 'Jobs that run',
        description: 'In all processes.',
        queries: [[`sum by (job_name) (cardea_jobs_running{${of}})`, '{{job_name}}']],
        unit: 'none',
      }),
    );
}
