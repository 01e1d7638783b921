import { changesBetween } from '@cardea/contracts/audit-changes';
import type { AuditFields } from '@cardea/contracts/audit-changes';
import { toAuditEvent } from '@cardea/contracts/to-audit-event';
import { canonicalize } from '@cardea/crypto/canonical-json';
import { uuidv7 } from '@cardea/crypto/ids';
import { createWebhookSender } from '@cardea/http/client/webhook-sender';
import { LOG_ITSELF } from '../append/log.ts';
import { toCanonicalEvent } from '../append/parse-append.ts';
import { startDelivery } from './delivery.ts';
import type { Delivery, DeliveryOptions } from './delivery.ts';
import { createFileSink } from './file-sink.ts';
import { createHttpsSink } from './https-sink.ts';
import { listSinks, putSink, removeSink } from './sink-store.ts';
import type { SinkRow } from './sink-store.ts';
import type { Sink } from './sink.ts';
import { readSinkCa, readSinkKey } from './sinks-file.ts';
import type { SinkSettings } from './sinks-file.ts';
import type { AuditStore } from '../append/log.ts';

/** The sinks of the log. */
export interface Sinks {
  deliveries: readonly Delivery[];
  /** Whether the log refuses records while a sink is too far behind. */
  areRequired: boolean;
  /** @throws AppError `unavailable` while a required sink is further behind than it may be */
  refuseIfBehind(): void;
  stop(): Promise<void>;
}

type SinksContext = Omit<DeliveryOptions, 'settings' | 'sink' | 'next' | 'log'> & { log: AuditStore };

/** Records what has changed about the sinks since the last start, and starts them. @throws StartError */
export async function openSinks(ctx: SinksContext, all: readonly SinkSettings[]): Promise<Sinks> {
  const sinks = all.map((settings) => ({ settings, sink: createSink(ctx, settings) }));
  await recordChanges(ctx, all);
  const positions = new Map((await listSinks(ctx.db)).map((row) => [row.name, row.next_seq]));
  const deliveries = sinks.map((one) => startDelivery({ ...ctx, ...one, next: positions.get(one.settings.name)! }));
  return {
    deliveries,
    areRequired: all.some(({ required }) => required),
    refuseIfBehind: () => deliveries.forEach((delivery) => delivery.refuseIfBehind()),
    stop: async () => void (await Promise.all(deliveries.map((delivery) => delivery.stop()))),
  };
}

function createSink({ now }: SinksContext, settings: SinkSettings): Sink {
  if (settings.type === 'file') return createFileSink(settings.path);
  const sender = createWebhookSender({ ca: readSinkCa(settings) });
  return createHttpsSink({ ...settings, key: readSinkKey(settings), sender, now });
}

async function recordChanges(ctx: SinksContext, all: readonly SinkSettings[]): Promise<void> {
  const known = new Map((await listSinks(ctx.db)).map((row) => [row.name, row]));
  for (const settings of all) await recordOne(ctx, settings, known.get(settings.name));
  const names = new Set(all.map(({ name }) => name));
  for (const { name, settings } of known.values()) {
    if (names.has(name)) continue;
    await record(ctx, 'sink.remove', name, { before: JSON.parse(settings) as AuditFields, after: {} });
    await removeSink(ctx.db, name);
  }
}

async function recordOne(ctx: SinksContext, settings: SinkSettings, row: SinkRow | undefined): Promise<void> {
  const { name, ...after } = settings;
  const text = canonicalize(after);
  if (row?.settings === text) return;
  const before = row ? (JSON.parse(row.settings) as AuditFields) : {};
  // In this order, a crash between both repeats the record, and never loses it.
  await record(ctx, row ? 'sink.change' : 'sink.add', name, { before, after });
  await putSink(ctx.db, name, text);
}

async function record(
  { log, now }: SinksContext,
  action: 'sink.add' | 'sink.change' | 'sink.remove',
  name: string,
  { before, after }: { before: AuditFields; after: AuditFields },
): Promise<void> {
  const at = now();
  const actor = { id: 'operator', type: 'service' } as const;
  const event = toAuditEvent(
    { actor },
    { action, resource: { name }, changes: changesBetween(before, after) },
    { id: uuidv7(at), at },
  );
  await log.append([{ event: toCanonicalEvent(event), peer: LOG_ITSELF }]);
}
