import { createClient } from '@cardea/http/client/peer-client';
import type { Client } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import type { ServiceName } from '@cardea/http/mtls';
import type { Running } from '@cardea/process/run';
import type { KekConfig } from '../src/config.ts';
import { startKekService } from '../src/start.ts';
import { createRecordingLogger } from './recording-logger.ts';
import type { LogLine } from './recording-logger.ts';

/** The lowest cost of Argon2id. A test guesses no passphrases. */
const cheapPassphrase = { memoryKib: 8, passes: 1, parallelism: 1 };

const unwrapBudget = { vaultsPerMinute: 300, unwrapsPerMinute: 6_000 };

export interface TestKek extends Running {
  lines: LogLine[];
  clock: TestClock;
  /** A client that shows the certificate of `name`. */
  as(name: ServiceName): Client;
  metric(line: string): Promise<number>;
}

/** A time of day that the test sets, in milliseconds, and the steady clock, which goes on when it is set forward. */
interface TestClock {
  now: number;
  readonly steadyMs: number;
}

function createTestClock(start: number): TestClock {
  let [now, steadyMs] = [start, 0];
  return {
    get now() {
      return now;
    },
    set now(next) {
      steadyMs += Math.max(0, next - now);
      now = next;
    },
    get steadyMs() {
      return steadyMs;
    },
  };
}

/** Starts a kek-service on a free port, with a clock that the test moves. */
export async function startTestKek(
  config: Pick<KekConfig, 'dataDir' | 'tlsDir'> & Partial<KekConfig>,
): Promise<TestKek> {
  const logger = createRecordingLogger();
  const clock = createTestClock(Date.parse('2026-11-22T06:27:31Z'));
  const running = await startKekService(
    { host: '127.0.0.1', port: 0, opsHost: '127.0.0.1', opsPort: 0, logLevel: 'info', unwrapBudget, ...config },
    { logger, now: () => clock.now, steadyMs: () => clock.steadyMs, passphraseCost: cheapPassphrase },
  );
  const clients = new Map<ServiceName, Client>();
  return {
    ...running,
    lines: logger.lines,
    clock,
    as(name) {
      const identity = readTlsIdentity(config.tlsDir, name);
      const client = clients.get(name) ?? createClient({ url: running.url, peer: 'kek-service', identity });
      clients.set(name, client);
      return client;
    },
    async metric(line) {
      const text = await (await fetch(`${running.opsUrl}/metrics`)).text();
      const found = text.split('\n').find((metric) => metric.startsWith(line));
      return Number(found?.split(' ').at(-1) ?? 0);
    },
    async stop() {
      await Promise.all([...clients.values()].map((client) => client.close()));
      await running.stop();
    },
  };
}
