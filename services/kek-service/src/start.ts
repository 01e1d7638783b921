import { SECOND_MS } from '@cardea/contracts/durations';
import { openOpsPort } from '@cardea/http/server/ops-port';
import { reportRefusedHandshakes } from '@cardea/http/server/peers';
import { listen } from '@cardea/http/server/serve';
import { repeat } from '@cardea/process/repeat';
import type { Running } from '@cardea/process/run';
import { atMost } from './at-most.ts';
import { createKekApp } from './app.ts';
import type { KekConfig } from './config.ts';
import { createContext } from './context.ts';
import type { KekContext, KekOverrides } from './context.ts';

// Peers wait this long for a DEK.
const DRAIN_MS = 5_000;
// audit-service may start beside this service, and needs no KEK.
const RECORD_WAITS_MS = 1_000;

/** Starts kek-service in this process. It may start sealed. @throws StartError */
export async function startKekService(config: KekConfig, overrides: KekOverrides = {}): Promise<Running> {
  await using starting = new AsyncDisposableStack();
  const ops = await openOpsPort(config);
  starting.defer(() => ops.close());
  const ctx = await createContext(config, overrides);
  starting.defer(() => ctx.close());

  const { identity, logger, metrics, seal } = ctx;
  const late = (error: unknown) => logger.warn('records wait for the audit log', { error });
  await atMost(RECORD_WAITS_MS, sendRecords(ctx).catch(late));
  starting.use(repeat(SECOND_MS, () => sendRecords(ctx), late));

  const address = { host: config.host, port: config.port, variable: 'CARDEA_KEK_PORT' };
  const api = await listen(createKekApp(ctx), { ...address, identity });
  starting.defer(() => api.drain(DRAIN_MS));
  // They would hold the drain up.
  starting.defer(() => ctx.sealEvents.close());
  reportRefusedHandshakes(api.server, { logger, refused: metrics.handshakesRefused, steadyMs: ctx.steadyMs });

  const sealed = seal.isSealed();
  ops.show({ registry: metrics.registry, checks: { keyring: async () => void seal.keyring() } });
  logger.info(sealed ? 'kek-service is ready and sealed' : 'kek-service is ready', { url: api.url });
  const started = starting.move();
  return { url: api.url, opsUrl: ops.url, sealed, stop: () => started.disposeAsync() };
}

/** Sends what a crash, or an audit log that was away, left behind. */
async function sendRecords({ keyringRecords, unwrapBudget }: KekContext): Promise<void> {
  await keyringRecords.send();
  await unwrapBudget.sendRecords();
}
