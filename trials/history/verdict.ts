import { Violation } from '../kill/ledger.ts';
import { findAnomaly } from './linearizability.ts';
import type { Anomaly } from './linearizability.ts';
import { describeCall } from './operations.ts';
import type { Operation } from './operations.ts';

/** How many versions of a secret the vault of a trial keeps: few, so that old versions are destroyed. */
export const VERSIONS_KEPT = 4;

/** @throws Violation that describes every name whose calls no order explains; Undecided */
export function requireLinearizable(operations: Operation[]): void {
  const anomalies = [...Map.groupBy(operations, ({ name }) => name).values()].flatMap((calls) => {
    const anomaly = findAnomaly(calls, VERSIONS_KEPT);
    return anomaly ? [render(anomaly, calls)] : [];
  });
  if (anomalies.length > 0)
    throw new Violation(`no order of the calls explains their answers:\n${anomalies.join('\n')}`);
}

/** Describes where the longest order ends, with the calls around that time. */
function render({ name, explained, of, register, stuck }: Anomaly, calls: Operation[]): string {
  const from = Math.min(...stuck.map(({ invokedAt }) => invokedAt));
  const to = Math.max(...stuck.map(({ answeredAt }) => answeredAt));
  const around = calls
    .filter((call) => call.invokedAt <= to && (call.answeredAt === Infinity || call.answeredAt >= from - 40))
    .toSorted((a, b) => a.invokedAt - b.invokedAt)
    .slice(-60);
  const state = `version ${register.newest}, in the trash ${register.trashed.join()}, restored beside newer ones ${register.restored.join()}, values ${register.values.join()}`;
  return [
    `${name}: ${explained} of ${of} answers are explained. After them the state is ${state}, and none of these can come next:`,
    ...stuck.map((call) => `  ${describeCall(call)}`),
    ' other calls at that time:',
    ...around.map((call) => `  ${describeCall(call)}`),
  ].join('\n');
}
