import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { startTlsNginx } from '@cardea/testkit/nginx';
import type { NginxServer } from '@cardea/testkit/nginx';
import { FrontDoor } from '../kill/front-door.ts';
import { startFull } from '../rotation/full.ts';
import type { FullInstallation, FullOptions, Peer } from '../rotation/full.ts';
import { startLink } from './link.ts';
import type { Link } from './link.ts';

/** Profile full behind nginx with TLS: two api-services and one worker, on a PostgreSQL and a Redis of their own. */
export interface Stack {
  full: FullInstallation;
  nginx: NginxServer;
  /** The URL of nginx, and the certificate that has signed its own. */
  url: string;
  ca: string;
  /** Makes a client with a connection of its own to nginx. */
  connect(): FrontDoor;
  stop(): Promise<void>;
}

/** Everything that a link leads to. nginx reaches the first of the two api-services through its link. */
export const linkedPeers = [
  'PostgreSQL',
  'PostgreSQL of the log',
  'Redis',
  'kek-service',
  'audit-service',
  'api-service',
] as const satisfies (Peer | 'api-service')[];

export type LinkedPeer = (typeof linkedPeers)[number];

/** The stack with a link in front of each peer. */
export interface LinkedStack extends Stack {
  links: Readonly<Record<LinkedPeer, Link>>;
}

// One user plays all clients, and makes and has more vaults than one caller may.
const SETTINGS = {
  CARDEA_TRUSTED_PROXIES: '1',
  CARDEA_UNWRAP_VAULTS_PER_MINUTE: '100000',
  CARDEA_VAULTS_MADE_PER_USER: '100000',
};

/** Starts the stack, with its keys and its log in `folder`. */
export async function startStack(folder: string, options: FullOptions = {}): Promise<Stack> {
  const full = await startFull(folder, { apis: 2, settings: SETTINGS, ...options });
  return putNginxBefore(full, full.urls);
}

/** Starts the stack with links, with its keys and its log in `folder`. */
export async function startLinkedStack(folder: string): Promise<LinkedStack> {
  const links = new Map<LinkedPeer, Link>();
  const via = async (peer: LinkedPeer, address: string) => {
    const link = await startLink(address);
    links.set(peer, link);
    return link.address;
  };
  const full = await startFull(folder, { apis: 2, settings: SETTINGS, via });
  const [first = '', ...others] = full.urls;
  const linked = `http://${await via('api-service', new URL(first).host)}`;
  const stack = await putNginxBefore(full, [linked, ...others]);
  return {
    ...stack,
    links: Object.fromEntries(links) as Record<LinkedPeer, Link>,
    async stop() {
      await stack.stop();
      for (const link of links.values()) await link.stop();
    },
  };
}

async function putNginxBefore(full: FullInstallation, urls: readonly string[]): Promise<Stack> {
  const tlsDir = join(full.dataDir, 'tls');
  await ensureCertificates(tlsDir, new Date(), { servers: { nginx: ['localhost', '127.0.0.1'] } });
  const ca = readFileSync(join(tlsDir, 'ca.pem'), 'utf8');
  const files = { certificate: join(tlsDir, 'nginx.pem'), key: join(tlsDir, 'nginx.key') };
  const nginx = await startTlsNginx([...urls], files);
  return {
    full,
    nginx,
    url: nginx.url,
    ca,
    connect: () => new FrontDoor(nginx.url, ca),
    async stop() {
      await nginx.stop();
      await full.stop();
    },
  };
}
