import type { Db } from '@cardea/storage/db';
import { FrontDoor } from '../kill/front-door.ts';
import { Violation } from '../kill/ledger.ts';
import { untilOutboxIsEmpty } from '../rotation/stored.ts';
import { readChangeRecords } from './change-records.ts';
import { findAnomaly } from './linearizability.ts';
import type { Anomaly } from './linearizability.ts';
import { describeCall } from './operations.ts';
import type { Operation } from './operations.ts';
import { settle } from './settle.ts';
import type { ChangeRecord } from './settle.ts';

/** How many versions of a secret the vault of a trial keeps: few, so that old versions are destroyed. */
export const VERSIONS_KEPT = 4;

/** The system that answered the calls, without another call under way. */
export interface Answerer {
  url: string;
  vault: string;
  /** A token of an admin. */
  token: string;
  /** Opens the database of api-service. */
  openDatabase(): Db;
}

/**
 * Decides the lost calls by the records of the audit log; see `settle`. Then looks for an order of all calls to each name.
 * @throws Violation that describes every name whose calls no order explains
 */
export async function requireLinearizable(operations: Operation[], answerer: Answerer): Promise<void> {
  const records = await readAllChanges(answerer);
  const anomalies = [...Map.groupBy(settle(operations, records), ({ name }) => name).values()].flatMap((calls) => {
    const anomaly = findAnomaly(calls, VERSIONS_KEPT);
    return anomaly ? [render(anomaly, calls)] : [];
  });
  if (anomalies.length > 0)
    throw new Violation(`no order of the calls explains their answers:\n${anomalies.join('\n')}`);
}

async function readAllChanges({ url, vault, token, openDatabase }: Answerer): Promise<Map<number, ChangeRecord>> {
  const [db, door] = [openDatabase(), new FrontDoor(url)];
  try {
    await untilOutboxIsEmpty(db);
    return await readChangeRecords(door, { vault, token });
  } finally {
    door.close();
    await db.close();
  }
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
