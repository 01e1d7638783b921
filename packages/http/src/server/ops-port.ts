import { opsListener } from '@cardea/process/ops';
import type { OpsView } from '@cardea/process/ops';
import { listen } from './serve.ts';

/** The port that serves health and metrics. */
export interface OpsPort {
  url: string;
  /** Ends the start phase. From now on the checks of `view` decide whether the service is ready. */
  show(view: OpsView): void;
  close(): Promise<void>;
}

/**
 * Opens the port of health and metrics. A service opens it first and closes it last, because a process that replaces
 * the service waits for this port. When the port is free, the old service no longer writes anything. A process that
 * starts too early is refused before it has opened a database.
 * @throws StartError if the port is in use
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
