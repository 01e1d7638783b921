import { openOpsPort } from '@cardea/http/server/ops-port';
import { reportRefusedHandshakes } from '@cardea/http/server/peers';
import { listen } from '@cardea/http/server/serve';
import type { Running } from '@cardea/process/run';
import { createKekApp } from './app.ts';
import type { KekConfig } from './config.ts';
import { createContext } from './context.ts';
import type { KekOverrides } from './context.ts';

// As long as those who ask for a DEK wait for an answer.
const DRAIN_MS = 5_000;

/** Starts kek-service in this process; it may be sealed. @throws StartError */
export async function startKekService(config: KekConfig, overrides: KekOverrides = {}): Promise<Running> {
  await using starting = new AsyncDisposableStack();
  const ops = await openOpsPort(config);
  starting.defer(() => ops.close());
  const ctx = await createContext(config, overrides);
  starting.defer(() => ctx.close());

  const { identity, logger, metrics, seal } = ctx;
  const address = { host: config.host, port: config.port, variable: 'CARDEA_KEK_PORT' };
  const api = await listen(createKekApp(ctx), { ...address, identity });
  starting.defer(() => api.drain(DRAIN_MS));
  reportRefusedHandshakes(api.server, { logger, refused: metrics.handshakesRefused });

  const sealed = seal.isSealed();
  ops.show({ registry: metrics.registry, checks: { keyring: async () => void seal.keyring() } });
  logger.info(sealed ? 'kek-service is ready and sealed' : 'kek-service is ready', { url: api.url });
  const started = starting.move();
  return { url: api.url, opsUrl: ops.url, sealed, stop: () => started.disposeAsync() };
}
