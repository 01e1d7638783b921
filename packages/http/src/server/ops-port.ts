import { opsListener } from '@cardea/process/ops';
import type { OpsView } from '@cardea/process/ops';
import { listen } from './serve.ts';

/** Where health and metrics are served. */
export interface OpsPort {
  url: string;
  /** Ends the time of starting: from now on the service is as ready as its checks say. */
  show(view: OpsView): void;
  close(): Promise<void>;
}

/**
 * Opens the port of health and metrics. A service opens it first and closes it last, for whoever starts another one in its
 * place waits for this port: when it is free nothing is written any more, and who comes too early is refused before it has
 * opened a database.
 * @throws StartError if the port is taken
 */
export async function openOpsPort({ opsHost, opsPort }: { opsHost: string; opsPort: number }): Promise<OpsPort> {
  let view: OpsView | undefined;
  const address = { host: opsHost, port: opsPort, variable: 'CARDEA_OPS_PORT' };
  const listening = await listen(
    opsListener(() => view),
    address,
  );
  return {
    url: listening.url,
    show: (shown) => void (view = shown),
    close: () => listening.drain(0),
  };
}
