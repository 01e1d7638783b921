import { join } from 'node:path';
import { startNginx } from '@cardea/testkit/nginx';
import type { NginxServer } from '@cardea/testkit/nginx';
import { startFull } from '../rotation/full.ts';
import type { FullInstallation } from '../rotation/full.ts';

const READY_WITHIN_MS = 60_000;

/** Profile full behind nginx: two api-services and one worker, on a PostgreSQL and a Redis of their own. */
export interface FullStack extends Pick<FullInstallation, 'kekUrl' | 'password' | 'opsAddresses' | 'stores' | 'stop'> {
  /** The URL of nginx. */
  url: string;
  tlsDir: string;
  nginx: NginxServer;
  /** Kills a process, which starts again at once. Resolves when it is ready. */
  restart(name: string): Promise<void>;
  /** Stops a process from running for so long. */
  pause(name: string, ms: number): Promise<void>;
  /** Stops a process for good. */
  stopProcess(name: string): Promise<void>;
}

/** Starts the stack with its keys and its log in `folder`. */
export async function startFullStack(folder: string): Promise<FullStack> {
  const full = await startFull(folder, { apis: 2, settings: { CARDEA_TRUSTED_PROXIES: '1' } });
  const nginx = await startNginx(full.url);
  const { kekUrl, password, opsAddresses, stores, processes, dataDir } = full;
  return {
    url: nginx.url,
    kekUrl,
    password,
    opsAddresses,
    stores,
    tlsDir: join(dataDir, 'tls'),
    nginx,
    async restart(name) {
      await processes.get(name)!.kill();
      await full.untilReady(READY_WITHIN_MS);
    },
    pause: (name, ms) => processes.get(name)!.pause(ms),
    async stopProcess(name) {
      await processes.get(name)!.stop();
      processes.delete(name);
    },
    async stop() {
      await nginx.stop();
      await full.stop();
    },
  };
}
