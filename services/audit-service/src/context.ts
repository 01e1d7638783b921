import { makeDataFolder } from '@cardea/process/data-folder';
import { createLogger } from '@cardea/process/logger';
import type { Logger } from '@cardea/process/logger';
import { readTlsIdentity } from '@cardea/http/mtls';
import type { TlsIdentity } from '@cardea/http/mtls';
import { failStop } from '@cardea/process/run';
import { untilThere } from '@cardea/process/until-there';
import { CommitError, isAway } from '@cardea/storage/db';
import type { Db } from '@cardea/storage/db';
import { openSigner } from './sign/checkpoint.ts';
import type { Signer } from './sign/checkpoint.ts';
import type { AuditConfig } from './config.ts';
import { openAuditDatabases } from './database.ts';
import type { AuditDatabases } from './database.ts';
import { FatalLogError, openLog } from './append/log.ts';
import type { AuditStore } from './append/log.ts';
import { recordPreviousLog, refuseUnfinishedLog } from './previous-log.ts';
import { recordRestore } from './restored-log.ts';
import { openQueryIndex } from './index/query-index.ts';
import type { QueryIndex } from './index/query-index.ts';
import { createAuditMetrics } from './metrics.ts';
import type { AuditMetrics } from './metrics.ts';
import { createPool } from './append/pool.ts';
import type { AppendPool } from './append/pool.ts';
import { openSinks } from './sinks/open-sinks.ts';
import type { Sinks } from './sinks/open-sinks.ts';
import { openSigningKey } from './sign/signing-key.ts';

/** What the functions of audit-service work with. */
export interface AuditContext {
  /** Milliseconds since 1970. */
  now(): number;
  logger: Logger;
  metrics: AuditMetrics;
  identity: TlsIdentity;
  /** Appends and signs. */
  db: Db;
  /** Reads for lists, proofs and exports. */
  readDb: Db;
  log: AuditStore;
  index: QueryIndex;
  pool: AppendPool;
  signer: Signer;
  sinks: Sinks;
  /** Ends the process if memory and disk may disagree after this error; otherwise does nothing. */
  stopIfFatal(error: unknown): void;
  /** Writes the events that wait, signs them, then closes the database. */
  close(): Promise<void>;
}

/** What tests replace. */
export interface AuditOverrides {
  now?: () => Date;
  logger?: Logger;
  /** Called instead of ending the process with exit code 74. */
  onFatal?(error: unknown): void;
}

/** Builds everything that audit-service needs. Makes the log and its key if they do not exist. @throws StartError */
export async function createContext(config: AuditConfig, overrides: AuditOverrides): Promise<AuditContext> {
  const { logger = createLogger('audit-service', config.logLevel) } = overrides;
  const { onFatal = (error: unknown) => failStop('The audit log stops', error) } = overrides;
  const now = () => (overrides.now?.() ?? new Date()).getTime();
  const identity = readTlsIdentity(config.tlsDir, 'audit-service');
  // Anybody may have the key that verifies.
  makeDataFolder(config.folder, { keys: ['signing-key', 'verifier-key'], say: (line) => logger.warn(line) });
  refuseUnfinishedLog(config.folder);
  const databases = await untilThere({ what: 'the database', isAway, logger }, () => openAuditDatabases(config));
  const { db, readDb } = databases;
  const stopIfFatal = (error: unknown) => {
    if (error instanceof FatalLogError || error instanceof CommitError) onFatal(error);
  };
  try {
    const { key, vkey } = await openSigningKey(db, config.folder, config.origin);
    const log = await openLog(db, { origin: config.origin, publicKey: key.publicKey, now });
    const index = await openQueryIndex(db);
    const signer = await openSigner(db, { ...config, key, vkey, index, now });
    await recordPreviousLog(config.folder, { log, vkey, now });
    await recordRestore(config.folder, log);
    const sinks = await openSinks({ db, readDb, log, logger, now, stopIfFatal }, config.sinks);
    const pool = createPool(log, { onFatal: stopIfFatal });
    logger.info('the audit log is open; verify its exports with this key', {
      verifierKey: vkey,
      size: signer.newest().size,
    });
    const metrics = createAuditMetrics({ log, index, pool, signer, sinks, identity, databases });
    const close = () => closeAll({ databases, pool, signer, sinks, logger });
    return { now, logger, metrics, identity, db, readDb, log, index, pool, signer, sinks, stopIfFatal, close };
  } catch (error) {
    stopIfFatal(error);
    await databases.close();
    throw error;
  }
}

interface Closing extends Pick<AuditContext, 'pool' | 'signer' | 'sinks' | 'logger'> {
  databases: AuditDatabases;
}

async function closeAll({ databases, pool, signer, sinks, logger }: Closing): Promise<void> {
  await pool.stop();
  try {
    await sinks.stop();
  } catch (error) {
    logger.error('a sink did not close', { error });
  }
  try {
    await signer.signIfGrown();
  } catch (error) {
    // The entries are on disk. The next start reads them again and signs them.
    logger.error('the last entries are not signed', { error });
  } finally {
    await databases.close();
  }
}
