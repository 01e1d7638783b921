import { setImmediate } from 'node:timers/promises';
import { AppError } from '@cardea/contracts/errors';
import { FatalLogError } from './log.ts';
import type { AuditStore, Outcome, Submission } from './log.ts';
import type { CanonicalEvent } from './parse-append.ts';

/** The limits of the events that wait while a transaction runs. */
const EVENTS_WAITING_MAX = 4_096;
const BYTES_WAITING_MAX = 8 * 1024 * 1024;
const WAIT_MS_MAX = 1_000;
const TRANSACTION_EVENTS_MAX = 512;

/** `leaf` is base64. */
export interface Appended {
  items: { id: string; seq: number; leaf: string }[];
  size: number;
}

export interface AppendPool {
  /**
   * Resolves once all events are on disk. `peer` is the service that submitted them.
   * @throws AppError `unavailable` if too many events wait; `conflict` if the log has another event with an id (the
   * other events of the request are in the log, and may be sent again)
   */
  append(events: CanonicalEvent[], peer: string): Promise<Appended>;
  /** The number of events that wait for a transaction. */
  waiting(): number;
  /** Accepts no more events. Resolves when every waiting event is on disk or refused. */
  stop(): Promise<void>;
}

export interface PoolOptions {
  /** Called once, after a FatalLogError. The process must end. */
  onFatal(error: FatalLogError): void;
  /** Milliseconds that only go forward. */
  clockMs?(): number;
}

interface Request {
  submissions: Submission[];
  bytes: number;
  sinceMs: number;
  resolve(appended: Appended): void;
  reject(error: unknown): void;
}

/** Gathers events for the one writer. The events that arrive while a transaction runs form the next one. */
export function createPool(
  log: Pick<AuditStore, 'append'>,
  { onFatal, clockMs = () => performance.now() }: PoolOptions,
): AppendPool {
  const queue: Request[] = [];
  let waitingEvents = 0;
  let waitingBytes = 0;
  let closed: string | undefined;
  let pumping: Promise<void> | undefined;

  function refuseIfFull(events: number, bytes: number): void {
    if (closed !== undefined) throw unavailable(closed);
    const oldest = queue[0];
    const stuck = oldest !== undefined && clockMs() - oldest.sinceMs > WAIT_MS_MAX;
    if (stuck || waitingEvents + events > EVENTS_WAITING_MAX || waitingBytes + bytes > BYTES_WAITING_MAX) {
      throw unavailable('too many events wait to be written to the audit log');
    }
  }

  async function pump(): Promise<void> {
    while (queue.length > 0) {
      // Requests that arrived with this one but are not parsed yet join it. This needs no timer and no delay when idle.
      await setImmediate();
      await write(takeBatch());
    }
    pumping = undefined;
  }

  /** Takes as many whole requests as fit into one transaction, the oldest first. */
  function takeBatch(): Request[] {
    let events = 0;
    let end = 0;
    for (const request of queue) {
      events += request.submissions.length;
      if (events > TRANSACTION_EVENTS_MAX) break;
      end += 1;
    }
    const batch = queue.splice(0, Math.max(end, 1));
    for (const request of batch) {
      waitingEvents -= request.submissions.length;
      waitingBytes -= request.bytes;
    }
    return batch;
  }

  async function write(batch: Request[]): Promise<void> {
    try {
      const { items, size } = await log.append(batch.flatMap((request) => request.submissions));
      for (const request of batch) settle(request, items.splice(0, request.submissions.length), size);
    } catch (error) {
      const fatal = error instanceof FatalLogError;
      const answer = fatal ? unavailable('the audit log stops', error) : error;
      for (const request of batch) request.reject(answer);
      if (fatal) stopFor(error);
    }
  }

  function stopFor(error: FatalLogError): void {
    closed = 'the audit log stops';
    for (const request of queue.splice(0)) request.reject(unavailable(closed, error));
    waitingEvents = 0;
    waitingBytes = 0;
    onFatal(error);
  }

  return {
    async append(events, peer) {
      const bytes = events.reduce((sum, event) => sum + Buffer.byteLength(event.text), 0);
      refuseIfFull(events.length, bytes);
      const submissions = events.map((event) => ({ event, peer }));
      waitingEvents += events.length;
      waitingBytes += bytes;
      return new Promise((resolve, reject) => {
        queue.push({ submissions, bytes, sinceMs: clockMs(), resolve, reject });
        pumping ??= pump();
      });
    },
    waiting: () => waitingEvents,
    async stop() {
      closed ??= 'the audit log is stopping';
      await pumping;
    },
  };
}

function settle(request: Request, outcomes: Outcome[], size: number): void {
  const items: Appended['items'] = [];
  const errors: { path: string; message: string }[] = [];
  for (const [index, outcome] of outcomes.entries()) {
    if ('conflict' in outcome)
      errors.push({ path: `events.${index}.id`, message: 'the log has another event with this id' });
    else items.push(outcome);
  }
  if (errors.length === 0) request.resolve({ items, size });
  else request.reject(new AppError('conflict', 'the log has another event with the same id', { errors }));
}

function unavailable(message: string, cause?: unknown): AppError {
  return new AppError('unavailable', message, { cause, retryAfterSeconds: 1 });
}
