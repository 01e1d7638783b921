import { EntryPage } from '@cardea/contracts/audit-api';
import type { z } from 'zod';
import type { FrontDoor } from '../kill/front-door.ts';
import { Violation } from '../kill/ledger.ts';
import type { Request } from './operations.ts';
import type { ChangeRecord } from './settle.ts';

const actions: Record<Exclude<Request['kind'], 'get'>, string> = {
  put: 'secret.write',
  delete: 'secret.delete',
  restore: 'secret.restore',
};

/** The User-Agent of one call: the audit log records it, so that the record of a call without an answer can be found. */
export function userAgentOf(invokedAt: number): string {
  return `history/${invokedAt}`;
}

/**
 * Reads the records of all changes of a vault's secrets, by the time of the call's invocation.
 * @throws Violation if a call has two records
 */
export async function readChangeRecords(
  door: FrontDoor,
  { vault, token }: { vault: string; token: string },
): Promise<Map<number, ChangeRecord>> {
  const records = new Map<number, ChangeRecord>();
  for (const action of Object.values(actions)) {
    for await (const { event, seq } of entriesOf(door, token, { vault, action, decision: 'allow' })) {
      const [, invokedAt] = /^history\/(\d+)$/.exec(event.source?.userAgent ?? '') ?? [];
      // Versions that return to the trash are the effect of a call that has a record of its own.
      if (invokedAt === undefined || event.rule === 'max-versions') continue;
      if (records.has(Number(invokedAt))) throw new Violation(`the log has two records of the call at ${invokedAt}`);
      const isUnchanged = event.reason === 'unchanged';
      records.set(Number(invokedAt), { seq, version: event.resource!.version!, isUnchanged });
    }
  }
  return records;
}

async function* entriesOf(
  door: FrontDoor,
  token: string,
  filter: Record<string, string>,
): AsyncGenerator<z.output<typeof EntryPage>['items'][number]> {
  let query: Record<string, string> = { ...filter, limit: '500' };
  for (;;) {
    const path = `/api/v1/audit/entries?${new URLSearchParams(query).toString()}`;
    const answer = await door.send({ method: 'GET', path, token });
    if (answer.kind !== 'answered' || answer.status !== 200) {
      throw new Violation(`${path} was not answered 200: ${JSON.stringify(answer)}`);
    }
    const page = EntryPage.parse(JSON.parse(answer.text));
    yield* page.items;
    if (page.nextCursor === undefined) return;
    query = { ...query, cursor: page.nextCursor };
  }
}
