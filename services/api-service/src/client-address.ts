import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { addressIn, clientNetwork, isInside } from '@cardea/contracts/cidr';
import type { Logger } from '@cardea/process/logger';

/** The proxies in front, whose word on the address of a client counts. */
export interface TrustedProxies {
  /** How many of them write X-Forwarded-For, one after the other. 0 for none. */
  count: number;
  /** The addresses and networks from which the last of them connects. */
  cidrs: readonly string[];
}

export interface ClientAddresses {
  /**
   * The address of the client. It is the address of the connection. If a trusted proxy has made the connection, it is
   * the entry of X-Forwarded-For that the outermost proxy wrote: the client itself can write all entries to the left of
   * it. A request whose entry is no address counts as the proxy's own, so that such requests share one limit.
   */
  of(req: IncomingMessage): string;
  /** Whether this connection is one of a trusted proxy. */
  isOfProxy(socket: Socket): boolean;
}

/** So many networks are told of whose header is ignored. Each costs a line of the log. */
const TOLD_MAX = 16;

export function createClientAddresses({ count, cidrs }: TrustedProxies, logger: Pick<Logger, 'warn'>): ClientAddresses {
  const tell = ignoredHeaders({ count, cidrs }, logger);
  // A client or a proxy sends many requests over one connection.
  const known = new WeakMap<Socket, boolean>();
  const addresses = new WeakMap<Socket, string>();

  function addressOf(socket: Socket): string {
    const before = addresses.get(socket);
    if (before !== undefined) return before;
    const address = addressIn(socket.remoteAddress ?? '') ?? 'unknown';
    addresses.set(socket, address);
    return address;
  }

  function isOfProxy(socket: Socket): boolean {
    if (count === 0) return false;
    const before = known.get(socket);
    if (before !== undefined) return before;
    const isTrusted = isInside(addressIn(socket.remoteAddress ?? '') ?? '', cidrs);
    known.set(socket, isTrusted);
    return isTrusted;
  }

  return {
    isOfProxy,
    of(req) {
      const own = addressOf(req.socket);
      const header = req.headers['x-forwarded-for'];
      if (header === undefined) return own;
      if (!isOfProxy(req.socket)) {
        tell(own);
        return own;
      }
      const entries = String(header)
        .split(',')
        .map((entry) => entry.trim())
        .filter((entry) => entry !== '');
      return addressIn(entries.at(-count) ?? '') ?? own;
    },
  };
}

/**
 * Says once for each network that its X-Forwarded-For is ignored. If a proxy has sent it, all of its clients count as
 * one, and nothing but this line says why.
 */
function ignoredHeaders({ count, cidrs }: TrustedProxies, logger: Pick<Logger, 'warn'>): (address: string) => void {
  const advice =
    count === 0
      ? 'If that is a proxy of yours, its clients share one limit: set CARDEA_TRUSTED_PROXIES'
      : `Trusted are ${cidrs.join(',')}. If that is a proxy of yours, add it to CARDEA_TRUSTED_PROXY_CIDRS`;
  const told = new Set<string>();
  return (address) => {
    const network = clientNetwork(address);
    if (told.has(network) || told.size >= TOLD_MAX) return;
    told.add(network);
    logger.warn(`the X-Forwarded-For of ${address} is ignored, because no proxy there is trusted. ${advice}`, {
      ip: address,
    });
  };
}
