import { IncomingMessage } from 'node:http';
import type { Server } from 'node:http';
import { Socket } from 'node:net';
import type { DropArgument } from 'node:net';
import { addressIn, clientNetwork } from '@cardea/contracts/cidr';
import { AppError } from '@cardea/contracts/errors';
import { refuseConnection } from './client-errors.ts';
import type { ServerContext } from './exchange.ts';
import { ignoreRequests } from './in-order.ts';
import { createShares } from './shares.ts';

/** How many connections a server keeps open. */
export interface ConnectionBounds {
  together: number;
  /** From one network. */
  each: number;
  /** Whether a proxy has made this connection, for all of its clients. It has a bound of its own and only that of all here. */
  isOfProxy(socket: Socket): boolean;
}

/**
 * Bounds the connections of a public server, because each costs memory, whether it sends anything or not. One beyond
 * the share of its network is answered 429. One beyond the bound of all is closed without an answer: an answer would
 * need it to be taken. Both are recorded.
 */
export function boundConnections(server: Server, ctx: ServerContext, bounds: ConnectionBounds): void {
  const { together, each, isOfProxy } = bounds;
  server.maxConnections = together;
  server.on('drop', (dropped) => void recordDropped(ctx, dropped));
  const shares = createShares({ each, together: Infinity, what: 'connections' });
  // Before Node's own listener, so that the connection is refused before anything is read from it.
  server.prependListener('connection', (socket: Socket) => {
    if (isOfProxy(socket)) return;
    const hold = shares.hold(clientNetwork(addressIn(socket.remoteAddress ?? '') ?? 'unknown'));
    try {
      hold.take(1);
      socket.once('close', hold.release);
    } catch (error) {
      ignoreRequests(socket);
      void refuseConnection(ctx, socket, error as AppError);
    }
  });
}

async function recordDropped(ctx: ServerContext, dropped: DropArgument | undefined): Promise<void> {
  const requestId = crypto.randomUUID();
  const socket = Object.defineProperty(new Socket(), 'remoteAddress', { value: dropped?.remoteAddress });
  const error = new AppError('rate_limited', 'too many connections of all callers are open', { rule: 'under-way' });
  ctx.metrics.refusals.inc({ code: error.code });
  const caller = ctx.stranger(new IncomingMessage(socket), requestId);
  try {
    await ctx.recordRefusal({ caller, action: 'request.refuse', params: {}, body: undefined, error });
  } catch (cause) {
    ctx.logger.error('a dropped connection was not recorded', { requestId, error: cause });
  }
}
