import { AppError } from '@cardea/contracts/errors';
import { steadyClock } from '@cardea/contracts/steady-clock';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import { createAuditClient } from '@cardea/http/client/audit-client';
import { followSeal } from '@cardea/http/client/follow-seal';
import { createKekClient } from '@cardea/http/client/kek-client';
import { createClient } from '@cardea/http/client/peer-client';
import type { Client } from '@cardea/http/client/peer-client';
import { createSealClient } from '@cardea/http/client/seal-client';
import { createWebhookSender } from '@cardea/http/client/webhook-sender';
import type { TlsIdentity } from '@cardea/http/mtls';
import { createBullmqQueue } from '@cardea/jobs/bullmq';
import { createInProcessQueue } from '@cardea/jobs/in-process';
import type { JobObserver, OnJobError, Queue } from '@cardea/jobs/queue';
import { withCause } from '@cardea/process/cause';
import type { Logger } from '@cardea/process/logger';
import { oncePerCause } from '@cardea/process/once-per-cause';
import { repeat } from '@cardea/process/repeat';
import { failStop } from '@cardea/process/run';
import { untilThere } from '@cardea/process/until-there';
import { isAway } from '@cardea/storage/db';
import type { Db } from '@cardea/storage/db';
import { openDatabase } from '@cardea/storage/open';
import type { VaultContext } from '@cardea/vault/context';
import { createVaultContext } from '@cardea/vault/create-context';
import { SECOND_MS } from '@cardea/contracts/durations';
import { migrationsFolder } from '@cardea/vault/migrations';
import type { Registry } from 'prom-client';
import { createJobObserver, showDueWork } from './job-metrics.ts';
import { pacedKeks } from './paced-keks.ts';
import type { VaultConfig } from './vault-config.ts';
import { createAppendObserver, showVault } from './vault-metrics.ts';

/** What a service supplies. */
export interface Service extends Pick<VaultContext, 'passwords' | 'now'> {
  /** Replaced by tests. */
  steadyMs?: SteadyClock | undefined;
  identity: TlsIdentity;
  logger: Logger;
  /** Gets the metrics of jobs, of due work, and of what the process keeps in memory. */
  registry: Registry;
  /** How long an event waits for the audit log. Called for each event. */
  auditDeadlineMs?: (() => number) | undefined;
}

/** The product's rules with what they run on: the database, kek-service, audit-service and a queue. */
export interface OpenVault {
  vault: VaultContext;
  queue: Queue;
  kekService: Client;
  auditService: Client;
  /** Waits for the running jobs, writes the data kept in memory, overwrites the DEKs, and closes every connection. */
  close(): Promise<void>;
}

/**
 * Opens everything a service needs to work on vaults, in profile mini and in profile full. Waits for a database that does
 * not answer yet. `close` closes it in the
 * opposite order. If opening fails half way, everything opened so far is closed in the same way.
 * @throws DbRefused, SchemaRefused
 */
export async function openVault(config: VaultConfig, service: Service): Promise<OpenVault> {
  const { identity, logger, registry, passwords, now, steadyMs = steadyClock, auditDeadlineMs } = service;
  await using opening = new AsyncDisposableStack();
  const kekService = createClient({ url: config.kekUrl, peer: 'kek-service', identity });
  opening.defer(() => kekService.close());
  const auditService = createClient({ url: config.auditUrl, peer: 'audit-service', identity });
  opening.defer(() => auditService.close());
  const audit = createAuditClient(auditService, auditDeadlineMs, createAppendObserver(registry));
  opening.defer(() => audit.close());
  const db = await openStore(config, logger);
  opening.defer(() => db.close());

  let vaultsPerMinute = Infinity;
  const pace = { vaultsPerMinute: () => vaultsPerMinute, steadyMs };
  const keks = pacedKeks(createKekClient(kekService), pace);
  const seals = createSealClient(kekService);
  const queue = createQueue(config, { logger, observer: createJobObserver(registry) });
  const webhookSender = createWebhookSender();
  const { vaultSettings: settings } = config;
  const clocks = { now, steadyMs };
  const vault = createVaultContext({
    db,
    keks,
    seals,
    audit,
    passwords,
    webhookSender,
    settings,
    jobs: queue,
    ...clocks,
  });
  const forgetKeys = () => {
    vault.deks.clear();
    vault.keyMaterials.clear();
  };
  opening.defer(forgetKeys);
  // A connection of its own, which it keeps.
  const sealEvents = createClient({ url: config.kekUrl, peer: 'kek-service', identity, connections: 1 });
  opening.defer(() => sealEvents.close());
  opening.use(
    followSeal(sealEvents, {
      onSealed: forgetKeys,
      onBudget: (limit) => (vaultsPerMinute = limit),
    }),
  );
  opening.defer(() => vault.lastReads.flush());
  opening.defer(() => vault.keyUses.flush());
  opening.defer(() => vault.outbox.flush());
  opening.defer(() => queue.close());
  showDueWork(registry, { vault, queue, logger });
  showVault(registry, { vault, audit, identity });
  keepUp(vault, logger, opening);

  const opened = opening.move();
  return { vault, queue, kekService, auditService, close: () => opened.disposeAsync() };
}

function openStore({ database, allowFsyncOff }: VaultConfig, logger: Logger): Promise<Db> {
  const open = () =>
    openDatabase({
      target: database,
      migrations: migrationsFolder,
      onCommitError: (error) => failStop('The database could not commit', error),
      allowFsyncOff,
    });
  return untilThere({ what: 'the database', isAway, logger }, open);
}

function createQueue({ redis }: VaultConfig, { logger, observer }: { logger: Logger; observer: JobObserver }): Queue {
  const { failed } = oncePerCause((error) => logger.error(withCause('the queue does not work', error), { error }));
  const onError: OnJobError = (error, job) => {
    if (!job) return failed(error);
    const what = { job: job.name, attempt: job.attempt };
    // A service that the job needs does not answer or is sealed. The job is tried again, and that service logs why.
    const isAway = error instanceof AppError && (error.code === 'sealed' || error.code === 'unavailable');
    if (isAway) logger.warn('job waits', { ...what, code: error.code });
    else logger.error('job failed', { ...what, error });
  };
  if (redis === undefined) return createInProcessQueue({ onError, observer });
  return createBullmqQueue({ redis, onError, observer });
}

/**
 * Clears what a vault keeps in memory, from time to time. Each kind of data has its own timer, so that a DEK does not
 * outlive its expiry because the database does not answer.
 */
function keepUp(vault: VaultContext, logger: Logger, opening: AsyncDisposableStack): void {
  const sweeping = setInterval(() => {
    vault.deks.sweep();
    vault.keyMaterials.sweep();
  }, SECOND_MS);
  opening.defer(() => clearInterval(sweeping));
  const outbox = repeat(
    SECOND_MS,
    () => vault.outbox.flush(),
    (error) => logger.warn('outbox rows stay for the relay', { error }),
  );
  opening.use(outbox);
  const lastReads = repeat(
    10 * SECOND_MS,
    () => vault.lastReads.flush(),
    (error) => logger.warn('the last readers are not stored yet; the audit log has them', { error }),
  );
  opening.use(lastReads);
  const keyUses = repeat(
    10 * SECOND_MS,
    () => vault.keyUses.flush(),
    (error) => logger.warn('the uses of keys are not counted yet; the audit log has them', { error }),
  );
  opening.use(keyUses);
}
