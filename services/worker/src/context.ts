import { createPasswordHasher, defaultPasswordCost } from '@cardea/crypto/password';
import { readTlsIdentity } from '@cardea/http/mtls';
import { createLogger } from '@cardea/process/logger';
import type { Logger } from '@cardea/process/logger';
import { createRegistry } from '@cardea/process/metrics';
import { openVault } from '@cardea/wiring/open-vault';
import type { OpenVault } from '@cardea/wiring/open-vault';
import type { Registry } from 'prom-client';
import type { WorkerConfig } from './config.ts';

/** What the functions of a worker need. */
export interface WorkerContext extends OpenVault {
  logger: Logger;
  registry: Registry;
}

/** Builds everything that a worker needs. @throws StartError, and what `openVault` throws */
export async function createContext(config: WorkerConfig): Promise<WorkerContext> {
  const logger = createLogger('worker', config.logLevel);
  const registry = createRegistry('worker');
  const opened = await openVault(config, {
    identity: readTlsIdentity(config.tlsDir, 'worker'),
    logger,
    registry,
    // No job hashes a password.
    passwords: createPasswordHasher(defaultPasswordCost, { concurrent: 1, queued: 0 }),
    now: () => new Date(),
  });
  return { ...opened, logger, registry };
}
