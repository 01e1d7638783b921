import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { infrastructure } from './infrastructure.ts';
import { overview } from './overview.ts';
import { rotationAndJobs } from './rotation-and-jobs.ts';
import { runbook } from './runbook.ts';
import { secretsAndKeys } from './secrets-and-keys.ts';
import { securityAndAudit } from './security-and-audit.ts';

/** The dashboards, by the names of their files in grafana/dashboards. */
export const dashboards: Record<string, Dashboard> = {
  'overview.json': overview().build(),
  'secrets-and-keys.json': secretsAndKeys().build(),
  'security-and-audit.json': securityAndAudit().build(),
  'rotation-and-jobs.json': rotationAndJobs().build(),
  'infrastructure.json': infrastructure().build(),
  'runbook.json': runbook().build(),
};
