import { errorCodes } from '@cardea/contracts/errors';
import { suspiciousRules } from '@cardea/contracts/suspicious';
import type { Metrics } from '@cardea/process/metrics';

/**
 * Shows the counters of refusals with 0 before the first one. Prometheus sees no increase in a counter that appears
 * with 1, and the first forged token must not be missed.
 */
export function startAtZero({ refusals, suspicious }: Metrics): void {
  for (const code of errorCodes) refusals.inc({ code }, 0);
  for (const rule of Object.keys(suspiciousRules)) suspicious.inc({ rule }, 0);
}
