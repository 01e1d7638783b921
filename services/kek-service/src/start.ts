import { reportRefusedHandshakes } from '@cardea/http/server/peers';
import { listen } from '@cardea/http/server/serve';
import { opsListener } from '@cardea/process/ops';
import type { Running } from '@cardea/process/run';
import { createKekApp } from './app.ts';
import type { KekConfig } from './config.ts';
import { createContext } from './context.ts';
import type { KekOverrides } from './context.ts';

const DRAIN_MS = 5_000;

/** A kek-service that answers. */
export interface RunningKekService extends Running {
  /** Where health and metrics are. */
  opsUrl: string;
}

/** Starts kek-service in this process; it may be sealed. @throws StartError */
export async function startKekService(config: KekConfig, overrides: KekOverrides = {}): Promise<RunningKekService> {
  await using starting = new AsyncDisposableStack();
  const ctx = await createContext(config, overrides);
  starting.defer(() => ctx.close());

  const { host, port, opsHost, opsPort } = config;
  const checks = { keyring: async () => void ctx.seal.keyring() };
  const ops = await listen(opsListener(ctx.metrics.registry, checks), {
    host: opsHost,
    port: opsPort,
    variable: 'CARDEA_OPS_PORT',
  });
  starting.defer(() => ops.drain(DRAIN_MS));

  const { identity } = ctx;
  const api = await listen(createKekApp(ctx), { host, port, variable: 'CARDEA_KEK_PORT', identity });
  starting.defer(() => api.drain(DRAIN_MS));
  reportRefusedHandshakes(api.server, { logger: ctx.logger, refused: ctx.metrics.handshakesRefused });

  ctx.logger.info(ctx.seal.isSealed() ? 'kek-service is ready and sealed' : 'kek-service is ready', { url: api.url });
  const started = starting.move();
  const sealed = ctx.seal.isSealed();
  return { url: api.url, opsUrl: ops.url, sealed, stop: () => started.disposeAsync() };
}
