import { setTimeout as pause } from 'node:timers/promises';
import { SECOND_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import type { Logger } from '@cardea/process/logger';
import { oncePerCause } from '@cardea/process/once-per-cause';
import type { Db } from '@cardea/storage/db';
import type { AuditStore } from '../append/log.ts';
import { parseEntryUnchecked } from '../entry-row.ts';
import { readEntryBytes } from '../entry-store.ts';
import { moveSink } from './sink-store.ts';
import type { Sink } from './sink.ts';
import type { SinkSettings } from './sinks-file.ts';

/** The entries of one delivery. */
const BATCH = 256;

/**
 * So long entries gather after a delivery, unless they fill a batch. Each delivery stores a position, which takes a
 * commit from the appends.
 */
const GATHER_MS = SECOND_MS;

const BACKOFF_MS = 500;
const BACKOFF_MS_MAX = 30 * SECOND_MS;

/** How far a sink is behind the log. */
export interface Lag {
  entries: number;
  /** Since the oldest entry that the sink does not have was written. */
  seconds: number;
}

/** Brings the entries of the log to one sink, in order, each at least once. */
export interface Delivery {
  name: string;
  lag(): Lag;
  /** @throws AppError `unavailable` while a required sink is further behind than it may be */
  refuseIfBehind(): void;
  /** Ends the delivery under way, and closes the sink. */
  stop(): Promise<void>;
}

export interface DeliveryOptions {
  settings: Pick<SinkSettings, 'name' | 'required' | 'maxLagEntries' | 'maxLagSeconds'>;
  sink: Sink;
  /** The first entry that the sink has not confirmed. */
  next: number;
  db: Db;
  /** Reads the entries, and never waits for an append. */
  readDb: Db;
  log: Pick<AuditStore, 'size' | 'whenLonger'>;
  logger: Logger;
  /** Milliseconds since 1970. */
  now(): number;
  /** Ends the process if memory and disk may disagree after this error. */
  stopIfFatal(error: unknown): void;
}

/** Starts to deliver what the sink does not have. */
export function startDelivery(options: DeliveryOptions): Delivery {
  const { settings, sink, db, readDb, log, logger, now, stopIfFatal } = options;
  const { name } = settings;
  const stopping = new AbortController();
  const { signal } = stopping;
  const { failed, worked } = oncePerCause((error) => logger.error(`the sink ${name} is behind`, { error }));
  let next = options.next;
  // When the first entry of the last batch was written. Unknown once the sink has had every entry.
  let oldestMs: number | undefined;
  let failures = 0;

  async function deliverBatch(): Promise<void> {
    const to = Math.min(next + BATCH, log.size());
    // Entries that cannot be read count from now on.
    oldestMs ??= now();
    const entries = await readEntryBytes(readDb, next, to);
    if (entries.length !== to - next) throw new Error(`entries between ${next} and ${to} are missing`);
    oldestMs = Date.parse(parseEntryUnchecked(entries[0]!).writtenAt);
    await sink.deliver({ first: next, entries }, signal);
    await moveSink(db, name, { from: next, to });
    next = to;
    if (next >= log.size()) oldestMs = undefined;
  }

  async function untilThereAre(size: number, end: AbortSignal): Promise<void> {
    while (log.size() < size && !end.aborted) await log.whenLonger(log.size(), end);
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        await untilThereAre(next + 1, signal);
        while (next < log.size() && !signal.aborted) await deliverBatch();
        failures = 0;
        worked();
        await untilThereAre(next + BATCH, AbortSignal.any([signal, AbortSignal.timeout(GATHER_MS)]));
      } catch (error) {
        if (signal.aborted) return;
        stopIfFatal(error);
        failed(error);
        failures += 1;
        const waitMs = Math.min(BACKOFF_MS * 2 ** (failures - 1), BACKOFF_MS_MAX);
        // Only the end rejects.
        await pause(waitMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  function lag(): Lag {
    const entries = Math.max(0, log.size() - next);
    if (entries === 0 || oldestMs === undefined) return { entries, seconds: 0 };
    return { entries, seconds: Math.max(0, (now() - oldestMs) / 1000) };
  }

  const running = run();
  return {
    name,
    lag,
    refuseIfBehind() {
      const { required, maxLagEntries = Infinity, maxLagSeconds = Infinity } = settings;
      if (!required) return;
      const { entries, seconds } = lag();
      if (entries <= maxLagEntries && seconds <= maxLagSeconds) return;
      const message = `the required sink ${name} of the audit log is ${entries} entries and ${Math.floor(seconds)} s behind`;
      throw new AppError('unavailable', message, { retryAfterSeconds: 5 });
    },
    async stop() {
      stopping.abort();
      await running;
      await sink.close();
    },
  };
}
