import { join, resolve } from 'node:path';

import { CannotStart, problemOf } from './cannot-start.ts';
import type { ChildSpec } from './child.ts';
import type { ListenAddress } from './preflight.ts';

/** What profile mini runs, read from the environment. */
export interface MiniPlan {
  dataDir: string;
  tlsDir: string;
  /** The URL of Cardea, unless api-service reports another. */
  url: string;
  addresses: ListenAddress[];
  /** A stage starts when the previous stage is ready, and ends when the next stage has ended. */
  stages: ChildSpec[][];
  /** What is wrong with the variables. The plan is then as if they were not set, so that services can check theirs. */
  problems: string[];
}

// Services speak to each other on the loopback interface, even if api-service has another address.
const loopback = '127.0.0.1';

// The answers under way are in use at every garbage collection, which copies them. With 32 MiB there are a tenth more
// reads per second than with 8 MiB. kek-service has little work, and an idle heap keeps its memory.
const semiSpaceMib = { kek: 2, audit: 32, api: 32 };

const opsOffset = 10;
const portsAfterBase = opsOffset + 2;

/**
 * Plans profile mini from CARDEA_DATA_DIR (default `data` in `root`), CARDEA_PORT (default 8400) and CARDEA_HOST
 * (default 127.0.0.1). A relative folder is relative to `root`, the project's folder.
 */
export function planMini(env: NodeJS.ProcessEnv, root: string): MiniPlan {
  let port = 8400;
  const problems = [
    ...problemOf(() => refuseOtherProfiles(env['CARDEA_PROFILE'])),
    ...problemOf(() => (port = parsePort(env['CARDEA_PORT'] || `${port}`))),
  ];
  const host = env['CARDEA_HOST'] || loopback;
  const dataDir = resolve(root, env['CARDEA_DATA_DIR'] || 'data');
  const tlsDir = join(dataDir, 'tls');

  const common = {
    CARDEA_PROFILE: 'mini',
    CARDEA_DATA_DIR: dataDir,
    CARDEA_TLS_DIR: tlsDir,
    CARDEA_PORT: `${port}`,
    CARDEA_KEK_PORT: `${port + 1}`,
    CARDEA_AUDIT_PORT: `${port + 2}`,
    CARDEA_KEK_URL: `https://${loopback}:${port + 1}`,
    CARDEA_AUDIT_URL: `https://${loopback}:${port + 2}`,
  };
  const service = (label: keyof typeof semiSpaceMib, index: number, listenHost: string): ChildSpec => ({
    name: `${label}-service`,
    label,
    script: join(root, 'services', `${label}-service`, 'src', 'main.ts'),
    env: { ...common, CARDEA_HOST: listenHost, CARDEA_OPS_PORT: `${port + opsOffset + index}` },
    semiSpaceMib: semiSpaceMib[label],
  });

  return {
    dataDir,
    tlsDir,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    addresses: [0, 1, 2].flatMap((index) => [
      { host: index === 0 ? host : loopback, port: port + index },
      { host: loopback, port: port + opsOffset + index },
    ]),
    problems,
    stages: [[service('kek', 1, loopback), service('audit', 2, loopback)], [service('api', 0, host)]],
  };
}

function refuseOtherProfiles(profile: string | undefined): void {
  if (!profile || profile === 'mini') return;
  if (profile === 'full') {
    throw new CannotStart(
      'this command starts profile mini, but CARDEA_PROFILE is full: unset it, or start the services of profile full ' +
        'one by one (docs/configuration.md)',
    );
  }
  throw new CannotStart(`there is no profile "${profile}": set CARDEA_PROFILE to mini, or unset it`);
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535 - portsAfterBase) return port;
  throw new CannotStart(`CARDEA_PORT is "${text}": set it to a number from 1 to ${65_535 - portsAfterBase}`);
}
