import type { IncomingMessage, Server } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Caller } from '@cardea/contracts/caller';
import { addressIn } from '@cardea/contracts/cidr';
import { SECOND_MS } from '@cardea/contracts/durations';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import { steadyClock } from '@cardea/contracts/steady-clock';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import type { Logger } from '@cardea/process/logger';
import { peerName } from '../mtls.ts';
import type { ServiceName } from '../mtls.ts';

/** Which services may call which endpoint, by its path. */
export type PeersOfEndpoints = ReadonlyMap<string, readonly ServiceName[]>;

/** Returns the calling service. @throws AppError `access_denied` if the service may not call this endpoint */
export function identifyPeer(
  peersOf: PeersOfEndpoints,
  req: IncomingMessage,
  { path }: Endpoint,
  requestId: string,
): Caller {
  const name = peerName(req);
  if (!peersOf.get(path)?.some((peer) => peer === name)) {
    throw new AppError('access_denied', 'this certificate may not call this endpoint', { suspicious: 'wrong_peer' });
  }
  return certificateHolder(req, requestId);
}

/** The holder of the certificate of the connection, as a caller. */
export function certificateHolder(req: IncomingMessage, requestId: string): Caller {
  const ip = addressIn(req.socket.remoteAddress ?? '');
  return {
    actor: { id: peerName(req) ?? 'unknown', type: 'service' },
    source: ip === undefined ? {} : { ip },
    requestId,
  };
}

/**
 * Counts failed handshakes and logs one a second, with how many others there were since the last line. Such a peer never
 * sends a request, so this is its only trace, and it must not fill the disk with it.
 */
export function reportRefusedHandshakes(
  server: Server,
  { logger, refused, steadyMs = steadyClock }: { logger: Logger; refused: { inc(): void }; steadyMs?: SteadyClock },
): void {
  let [loggedAt, others] = [-Infinity, 0];
  server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    refused.inc();
    if (steadyMs() - loggedAt < SECOND_MS) {
      others += 1;
      return;
    }
    logger.warn('a TLS handshake was refused', { ip: socket.remoteAddress, error, count: others });
    [loggedAt, others] = [steadyMs(), 0];
  });
}
