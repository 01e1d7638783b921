import { SealEvent, followSeal as endpoint } from '@cardea/contracts/seal-api';
import type { Client } from './peer-client.ts';

/** How long nothing may be heard of kek-service before it counts as lost. */
const LOST_MS = 5_000;
const CHECK_MS = 250;
const RETRY_MS = 500;

/** What somebody who holds DEKs does about the state of the keyring. */
export interface SealListener {
  /** The keyring is sealed, or nothing was heard of it for 5 s. Called again and again while that is so. */
  onSealed(): void;
  /** How many vaults this process may unwrap DEKs of in a minute. */
  onBudget(vaultsPerMinute: number): void;
}

/**
 * Holds an answer of kek-service open that tells at once when the keyring is sealed, and opens another one if it breaks
 * off. Disposal ends it.
 */
export function followSeal(client: Pick<Client, 'stream'>, { onSealed, onBudget }: SealListener): Disposable {
  const ending = new AbortController();
  let heardAt = performance.now();

  function hear(line: string): void {
    const { sealed, unwrapVaultsPerMinute } = SealEvent.parse(JSON.parse(line));
    heardAt = performance.now();
    onBudget(unwrapVaultsPerMinute);
    if (sealed) onSealed();
  }

  async function listen(): Promise<void> {
    const body = await client.stream(endpoint.path, {});
    const end = () => body.destroy();
    ending.signal.addEventListener('abort', end, { once: true });
    try {
      let text = '';
      for await (const chunk of body.setEncoding('utf8')) {
        const lines = `${text}${String(chunk)}`.split('\n');
        text = lines.pop()!;
        lines.forEach(hear);
      }
    } finally {
      ending.signal.removeEventListener('abort', end);
      body.destroy();
    }
  }

  async function listenOn(): Promise<void> {
    while (!ending.signal.aborted) {
      // What ended it does not matter: the loss shows by the time that passes.
      await listen().catch(() => undefined);
      await pause(RETRY_MS, ending.signal);
    }
  }

  const checking = setInterval(() => {
    if (performance.now() - heardAt > LOST_MS) onSealed();
  }, CHECK_MS);
  void listenOn();
  return {
    [Symbol.dispose]() {
      clearInterval(checking);
      ending.abort();
    },
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
