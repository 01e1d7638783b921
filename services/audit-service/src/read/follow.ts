import { setTimeout as sleep } from 'node:timers/promises';
import { SECOND_MS } from '@cardea/contracts/durations';
import type { EntryAnswer, InternalEntryQuery } from '@cardea/contracts/audit-api';
import type { AuditStore } from '../append/log.ts';
import { listEntries } from './entries.ts';
import type { ReadingContext } from './entries.ts';

/** While a busy log has nothing that was asked for, it is looked at no more often. */
const PAUSE_MS = 100;

export interface FollowingContext extends ReadingContext {
  log: Pick<AuditStore, 'size' | 'whenLonger'>;
  /** Ends all waits when the service stops. */
  stopping: AbortSignal;
}

/**
 * Answers a question, and waits for an answer if there is none yet and the question says so. Records of reading the log
 * do not end a wait, because each call makes one: callers who follow the log would wake each other forever. They come
 * with the next entry that does, or at the end of the wait. A refusal to read it is news.
 * @throws as `listEntries`
 */
export async function answerQuestion(ctx: FollowingContext, query: InternalEntryQuery): Promise<EntryAnswer> {
  const { log, stopping } = ctx;
  const deadline = AbortSignal.any([stopping, AbortSignal.timeout((query.waitSeconds ?? 0) * SECOND_MS)]);
  const items: EntryAnswer['items'] = [];
  let { after, limit } = query;
  for (;;) {
    const size = log.size();
    const answer = await listEntries(ctx, { ...query, after, limit });
    if (query.waitSeconds === undefined || answer.refused) return answer;
    items.push(...answer.items);
    limit -= answer.items.length;
    after = answer.nextAfter;
    const isAnswer = limit === 0 || !answer.items.every(isReading);
    if (isAnswer || deadline.aborted) return { items, nextAfter: after };
    await log.whenLonger(size, deadline);
    await sleep(PAUSE_MS, undefined, { signal: deadline }).catch(() => undefined);
  }
}

function isReading({ event: { action, decision } }: EntryAnswer['items'][number]): boolean {
  return action === 'audit.read' && decision === 'allow';
}
