import { APPEND_EVENTS_MAX, appendEvents, readCheckpoint } from '@cardea/contracts/audit-api';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { AuditLog, AuditRoom, Receipt } from '@cardea/contracts/audited';
import { AppError } from '@cardea/contracts/errors';
import { canonicalize } from '@cardea/crypto/canonical-json';
import { z } from 'zod';
import { FEW_EVENTS_MAX, createAuditRooms } from './audit-rooms.ts';
import type { Room } from './audit-rooms.ts';
import type { Client } from './peer-client.ts';

const BATCHES_UNDER_WAY = 2;
const WAITING_MAX = 4_096;
/** The places of a batch that bulk events get, if so many wait. The events of small requests go before the others. */
const BULK_IN_BATCH = APPEND_EVENTS_MAX / 4;
const ATTEMPT_MS = 2_000;
const RETRY_MS = 50;
const PROBE_MS = 250;

/** How long an append waits for the log before it is refused. */
export const AUDIT_DEADLINE_MS = 5_000;

interface Waiting {
  id: string;
  json: string;
  /** By the clock of the process, which nobody sets. */
  deadline: number;
  resolve(receipt: Receipt): void;
  reject(error: AppError): void;
}

/** Learns of the appends of this process, for metrics. */
export interface AppendObserver {
  /** An append has its receipt (`acknowledged`) or will get none. `seconds` have passed since it was handed over. */
  ended(outcome: 'acknowledged' | 'failed', seconds: number): void;
}

/** An `AuditLog` in another service. */
export interface AuditClient extends AuditLog {
  /** The number of events that wait for a receipt. */
  waiting(): number;
  /** Refuses the events that still wait and stops probing the log. Call this before you close its client. */
  close(): void;
}

/**
 * Appends to audit-service. Events gather while batches are under way and go out together. This needs no timer and
 * adds no delay when the client is idle. A batch that got no answer is sent again with the same ids until the
 * deadline of its events. After that every event is refused at once until the log answers a probe. `deadlineMs` is
 * called for each event.
 */
export function createAuditClient(
  client: Pick<Client, 'post' | 'text'>,
  deadlineMs: () => number = () => AUDIT_DEADLINE_MS,
  observer?: AppendObserver,
): AuditClient {
  const rooms = createAuditRooms(WAITING_MAX);
  const few: Waiting[] = [];
  const bulk: Waiting[] = [];
  const underWay = new Set<Waiting[]>();
  const closing = new AbortController();
  let away = false;
  // Why the log did not answer the last time.
  let cause: unknown;
  let isPumping = false;

  function refuseAway(): void {
    if (away || closing.signal.aborted) throw notAnswering(cause);
  }

  function admit(): void {
    refuseAway();
    rooms.admit();
  }

  async function reserve(count: number): Promise<AuditRoom> {
    admit();
    return count > FEW_EVENTS_MAX ? rooms.keepMany(count, deadlineMs()) : rooms.keepFew(count);
  }

  // Pumps at the end of this turn of the event loop, so that events that arrive together go out together.
  function pumpSoon(): void {
    if (isPumping) return;
    isPumping = true;
    setImmediate(() => {
      isPumping = false;
      pump();
    });
  }

  function pump(): void {
    while (queued() > 0 && mayGo()) {
      const batch = nextBatch();
      underWay.add(batch);
      void send(batch).finally(() => {
        underWay.delete(batch);
        pumpSoon();
      });
    }
  }

  const queued = () => few.length + bulk.length;

  function nextBatch(): Waiting[] {
    const first = few.splice(0, APPEND_EVENTS_MAX - Math.min(BULK_IN_BATCH, bulk.length));
    return [...first, ...bulk.splice(0, APPEND_EVENTS_MAX - first.length)];
  }

  // The log writes one batch after the other and waits for its disk each time. A second batch is worth sending only
  // if it has at least half as many events as the first. Until then its events gather.
  function mayGo(): boolean {
    const [first] = underWay;
    return first === undefined || (underWay.size < BATCHES_UNDER_WAY && queued() * 2 >= first.length);
  }

  async function send(batch: Waiting[]): Promise<void> {
    const body = `{"batchId":"${crypto.randomUUID()}","events":[${batch.map((event) => event.json).join(',')}]}`;
    while (!closing.signal.aborted && batch.some((event) => event.deadline > performance.now())) {
      try {
        return settle(batch, await client.post(appendEvents.path, body, ATTEMPT_MS));
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'unavailable') return refuseOneByOne(batch, error);
        cause = error;
        // It has answered, and the next try would end like this one.
        if (error.rule === 'disk-full') break;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    giveUp(batch);
  }

  // One bad event must not take its batch with it.
  async function refuseOneByOne(batch: Waiting[], cause: unknown): Promise<void> {
    if (batch.length === 1) {
      batch[0]!.reject(new AppError('internal', 'the audit log refused an event', { cause }));
      return;
    }
    for (const event of batch) await send([event]);
  }

  function giveUp(batch: Waiting[]): void {
    for (const event of [...batch, ...few.splice(0), ...bulk.splice(0)]) {
      event.reject(notAnswering(cause));
    }
    if (!away && !closing.signal.aborted) {
      away = true;
      void probe();
    }
  }

  async function probe(): Promise<void> {
    while (away && !closing.signal.aborted) {
      try {
        await client.text(readCheckpoint.path);
        away = false;
      } catch (error) {
        // The log does not answer yet, so the loop probes again.
        cause = error;
        await new Promise((resolve) => setTimeout(resolve, PROBE_MS).unref());
      }
    }
  }

  function append(event: AuditEvent, room?: AuditRoom): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      refuseAway();
      // Rooms come from `reserve` alone.
      const { isBulk, take } = (room as Room | undefined) ?? rooms.keepFew(1);
      const lane = isBulk ? bulk : few;
      const json = canonicalize(event);
      const leave = take();
      lane.push({
        id: event.id,
        json,
        deadline: performance.now() + deadlineMs(),
        resolve(receipt) {
          leave();
          resolve(receipt);
        },
        reject(error) {
          leave();
          reject(error);
        },
      });
      pumpSoon();
    });
  }

  async function observed(event: AuditEvent, room: AuditRoom | undefined, { ended }: AppendObserver): Promise<Receipt> {
    const began = performance.now();
    let outcome: 'acknowledged' | 'failed' = 'failed';
    try {
      const receipt = await append(event, room);
      outcome = 'acknowledged';
      return receipt;
    } finally {
      ended(outcome, (performance.now() - began) / 1000);
    }
  }

  return {
    admit,
    reserve,
    append: observer === undefined ? append : (event, room) => observed(event, room, observer),
    waiting: () => [...underWay].reduce((sum, batch) => sum + batch.length, queued()),
    close() {
      closing.abort();
      giveUp([]);
    },
  };
}

function notAnswering(cause: unknown): AppError {
  if (!(cause instanceof AppError && cause.rule === 'disk-full')) {
    return new AppError('unavailable', 'the audit log does not answer', { cause });
  }
  const message = 'the disk of the audit log is full, so nothing is shown or changed until there is room';
  return new AppError('unavailable', message, { cause, rule: 'disk-full', retryAfterSeconds: 30 });
}

const Answer = z.object({ items: z.array(z.object({ id: z.string(), seq: z.int().min(0), leaf: z.string() })) });

function settle(batch: Waiting[], answer: unknown): void {
  const { items } = Answer.parse(answer);
  for (const [index, event] of batch.entries()) {
    const item = items[index];
    if (item?.id === event.id) event.resolve({ seq: item.seq, leaf: item.leaf });
    else event.reject(new AppError('internal', 'the audit log did not acknowledge an event'));
  }
}
