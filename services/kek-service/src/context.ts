import { join } from 'node:path';
import type { AuditLog } from '@cardea/contracts/audited';
import { steadyClock } from '@cardea/contracts/steady-clock';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import { passphraseCost } from '@cardea/crypto/password';
import type { PasswordCost } from '@cardea/crypto/password';
import { createAuditClient } from '@cardea/http/client/audit-client';
import { createClient } from '@cardea/http/client/peer-client';
import { closeDataFolder, refuseUnfinishedRestore } from '@cardea/process/data-folder';
import { createLogger } from '@cardea/process/logger';
import type { Logger } from '@cardea/process/logger';
import { readTlsIdentity } from '@cardea/http/mtls';
import type { TlsIdentity } from '@cardea/http/mtls';
import type { KekConfig } from './config.ts';
import { readFreezes } from './freeze-file.ts';
import { keyringFolder, makeKeyringFolder } from './first-keyring.ts';
import { createFileStore } from './keyring/file-store.ts';
import type { KeyringStore } from './keyring/store.ts';
import { createKeyringRecords } from './keyring-records.ts';
import type { KeyringRecords } from './keyring-records.ts';
import { createKekMetrics } from './metrics.ts';
import type { KekMetrics } from './metrics.ts';
import { openAtStart } from './open-at-start.ts';
import { createSealEvents } from './seal-events.ts';
import type { SealEvents } from './seal-events.ts';
import { createSealState } from './seal-state.ts';
import type { SealState } from './seal-state.ts';
import { fileSealWarning } from './seals/file.ts';
import { createGivenShares } from './seals/given-shares.ts';
import type { GivenShares } from './seals/given-shares.ts';
import type { TokenConfig } from './seals/token.ts';
import { createTurns } from '@cardea/process/in-turn';
import type { InTurn } from '@cardea/process/in-turn';
import { createUnsealAttempts } from './unseal-attempts.ts';
import type { UnsealAttempts } from './unseal-attempts.ts';
import { createUnwrapBudget } from './unwrap-budget.ts';
import type { UnwrapBudget } from './unwrap-budget.ts';
import { createUnwrapLimit } from './unwrap-limit.ts';
import type { UnwrapLimit } from './unwrap-limit.ts';

/** What the functions of kek-service work with. */
export interface KekContext {
  /** Milliseconds since 1970, for what is stored or recorded. */
  now: () => number;
  /** For what waits or expires in memory. */
  steadyMs: SteadyClock;
  logger: Logger;
  metrics: KekMetrics;
  identity: TlsIdentity;
  /** Undefined if no audit log is configured. Events are then only logged. */
  audit: AuditLog | undefined;
  /** Where the keyring and what belongs to it are. */
  folder: string;
  token: TokenConfig | undefined;
  passphraseCost: PasswordCost;
  store: KeyringStore;
  keyringRecords: KeyringRecords;
  /** Runs changes of the keyring one after the other. */
  inTurn: InTurn;
  seal: SealState;
  sealEvents: SealEvents;
  givenShares: GivenShares;
  unsealAttempts: UnsealAttempts;
  unwrapLimit: UnwrapLimit;
  unwrapBudget: UnwrapBudget;
  /** Overwrites the KEKs and closes connections. */
  close(): Promise<void>;
}

/** What tests replace. */
export interface KekOverrides {
  now?: () => number;
  steadyMs?: SteadyClock;
  logger?: Logger;
  /** The cost of a new passphrase seal. An existing keyring states its own cost. */
  passphraseCost?: PasswordCost;
}

/** Builds everything that kek-service needs. Makes a keyring if none exists. @throws StartError */
export async function createContext(config: KekConfig, overrides: KekOverrides): Promise<KekContext> {
  const { now = Date.now, steadyMs = steadyClock, logger = createLogger('kek-service', config.logLevel) } = overrides;
  const identity = readTlsIdentity(config.tlsDir, 'kek-service');
  await makeKeyring(config, { now, logger, ...overrides });
  const store = createFileStore(keyringFolder(config));
  const stored = await store.read();
  const opened = await openAtStart(config, stored.document, (error) => {
    logger.error('a seal does not open the keyring', { error });
  });
  const seal = createSealState();
  if (opened.keyring) seal.open(opened.keyring);
  opened.provenSealIds.forEach((id) => seal.prove(id));
  const audit = connectAudit(config, identity);
  const freezesPath = join(keyringFolder(config), 'freezes.json');
  const unwrapBudget = createUnwrapBudget(
    { limits: config.unwrapBudget, path: freezesPath, audit: audit?.log, logger, now, steadyMs },
    await readFreezes(freezesPath),
  );
  const sealEvents = createSealEvents(seal, config.unwrapBudget);
  return {
    now,
    steadyMs,
    logger,
    identity,
    folder: keyringFolder(config),
    token: config.token,
    passphraseCost: overrides.passphraseCost ?? passphraseCost,
    store,
    seal,
    sealEvents,
    givenShares: createGivenShares(steadyMs),
    keyringRecords: createKeyringRecords({ store, audit: audit?.log, logger }, stored),
    inTurn: createTurns(),
    metrics: createKekMetrics({ seal, budget: unwrapBudget, identity }),
    audit: audit?.log,
    unsealAttempts: createUnsealAttempts(steadyMs),
    unwrapLimit: createUnwrapLimit(steadyMs),
    unwrapBudget,
    async close() {
      sealEvents.close();
      seal.close();
      await audit?.close();
    },
  };
}

async function makeKeyring(
  config: KekConfig,
  { now, logger, passphraseCost: cost = passphraseCost }: KekOverrides & { now: () => number; logger: Logger },
): Promise<void> {
  refuseUnfinishedRestore(config.dataDir);
  const made = await makeKeyringFolder(config, cost, now());
  closeDataFolder(keyringFolder(config), { keys: ['seal-key'], say: (line) => logger.warn(line) });
  if (made && config.seal !== 'passphrase') for (const line of fileSealWarning) logger.warn(line);
}

function connectAudit({ auditUrl }: KekConfig, identity: TlsIdentity) {
  if (auditUrl === undefined) return undefined;
  const client = createClient({ url: auditUrl, peer: 'audit-service', identity, connections: 2 });
  const log = createAuditClient(client);
  return {
    log,
    async close() {
      log.close();
      await client.close();
    },
  };
}
