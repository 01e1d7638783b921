import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Status } from '@cardea/contracts/status';
import { QueueUnavailable } from '@cardea/jobs/queue';
import type { Queue } from '@cardea/jobs/queue';
import { authorizeSystem } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { oldestDue } from '../due-work.ts';
import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { audited } from '../record.ts';
import { noteWait } from '../right.ts';
import { countDeks, countOpenRotations, countOutbox } from './status-store.ts';
import type { DekCount } from './status-store.ts';

/** Due work and unsigned entries are late after this time. Jobs run every minute, and the log signs every 10 s. */
const LATE_MS = 5 * MINUTE_MS;

/** Where the status asks outside of the database. */
export interface StatusSources {
  queue: Pick<Queue, 'countWaiting'>;
  /** @throws AppError `unavailable` */
  isSealed(): Promise<boolean>;
  /** The size of the log, how much of it is signed, and when the first unsigned entry was written. */
  auditHead(): Promise<{ entries: number; signed: number; unsignedSince: Date | undefined }>;
}

/** What an operator looks at first. @throws AppError `access_denied`; `unavailable` if the audit log does not answer */
export async function readStatus(ctx: VaultContext, caller: Caller, sources: StatusSources): Promise<Audited<Status>> {
  const right = authorizeSystem(ctx, caller, 'status.read');
  ctx.audit.admit();
  noteWait(caller);
  const status = await statusOf(ctx, sources);
  return audited(ctx, caller, [right], { action: 'status.read', rule: right.rule }, () => status);
}

async function statusOf(ctx: VaultContext, sources: StatusSources): Promise<Status> {
  const now = ctx.now().getTime();
  const { unsignedSince, ...head } = await sources.auditHead();
  const oldest = await oldestDue(ctx);
  const shown = {
    seal: await sealOf(sources),
    keks: await keksOf(ctx),
    deks: await deksOf(ctx),
    rotations: await rotationsOf(ctx),
    jobs: await jobsOf(sources),
  };
  const due = oldest.map(({ kind, at }) => ({ kind, lagSeconds: lagSeconds(at, now), ...since(at) }));
  const late = [
    ...(shown.seal === 'open' ? [] : ['seal']),
    ...(shown.jobs === undefined ? ['jobs'] : []),
    ...due.filter((one) => one.lagSeconds * SECOND_MS >= LATE_MS).map(({ kind }) => kind),
    ...(unsignedSince && now - unsignedSince.getTime() >= LATE_MS ? ['audit'] : []),
  ];
  const unsigned = unsignedSince === undefined ? {} : { unsignedSince: unsignedSince.toISOString() };
  const audit = { ...head, ...unsigned, waiting: await countOutbox(ctx.db) };
  return { now: new Date(now).toISOString(), late, ...withoutUndefined(shown), due, audit };
}

async function sealOf({ isSealed }: StatusSources): Promise<Status['seal']> {
  const sealed = await unlessAway(isSealed);
  if (sealed === undefined) return 'unreachable';
  return sealed ? 'sealed' : 'open';
}

async function keksOf({ keks }: VaultContext): Promise<Status['keks']> {
  const versions = await unlessAway(() => keks.list());
  return versions?.map(({ version, state, createdAt }) => ({ version, state, createdAt }));
}

async function deksOf({ db }: VaultContext): Promise<Status['deks']> {
  const rows = await countDeks(db);
  const active = rows.filter(({ state }) => state === 'active');
  const byKek = Map.groupBy(rows, ({ kek_version }) => kek_version);
  return withoutUndefined({
    active: sumOf(active),
    retiring: sumOf(rows.filter(({ state }) => state === 'retiring')),
    oldestActiveSince: earliest(active.map(({ created_at }) => created_at)),
    oldestUsedSince: earliest(active.map(({ first_used_at }) => first_used_at)),
    byKek: [...byKek].map(([kekVersion, counts]) => ({ kekVersion, count: sumOf(counts) })),
  });
}

function sumOf(counts: DekCount[]): number {
  return counts.reduce((sum, { n }) => sum + n, 0);
}

function earliest(times: (number | null)[]): string | undefined {
  const known = times.filter((time) => time !== null);
  return known.length === 0 ? undefined : new Date(Math.min(...known)).toISOString();
}

async function rotationsOf({ db }: VaultContext): Promise<Status['rotations']> {
  const { open, started_at } = await countOpenRotations(db);
  return { open, ...(started_at === null ? {} : { oldestStartedAt: new Date(started_at).toISOString() }) };
}

async function jobsOf({ queue }: StatusSources): Promise<Status['jobs']> {
  try {
    return [...(await queue.countWaiting())].map(([job, waiting]) => ({ job, waiting }));
  } catch (error) {
    // Shown under `late`. The queue itself logs why.
    if (error instanceof QueueUnavailable) return undefined;
    throw error;
  }
}

// A service that does not answer must not hide the rest: an operator looks at the status because of that.
async function unlessAway<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof AppError && (error.code === 'unavailable' || error.code === 'sealed')) return undefined;
    throw error;
  }
}

function lagSeconds(at: number | undefined, now: number): number {
  return at === undefined ? 0 : Math.max(0, now - at) / SECOND_MS;
}

function since(at: number | undefined): { since?: string } {
  return at === undefined ? {} : { since: new Date(at).toISOString() };
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as Defined<T>;
}
