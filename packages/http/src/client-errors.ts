import { IncomingMessage } from 'node:http';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { AppError } from '@cardea/contracts/errors';
import type { ServerContext } from './exchange.ts';
import { toProblem } from './problem.ts';

/**
 * Answers and records what never became a request: broken HTTP, a header beyond the limit, a client that stalls.
 * Node reports these on the connection, not to the application.
 */
export function refuseBrokenRequests(server: Server, ctx: ServerContext): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    void refuseConnection(ctx, socket as Socket, error.code ?? '');
  });
}

async function refuseConnection(ctx: ServerContext, socket: Socket, code: string): Promise<void> {
  const requestId = crypto.randomUUID();
  const error = toAppError(code);
  const caller = ctx.stranger(new IncomingMessage(socket), requestId);
  try {
    await ctx.recordRefusal({ caller, action: 'request.refuse', params: {}, error });
  } catch (cause) {
    ctx.logger.error('a broken request was not recorded', { requestId, error: cause });
  }
  ctx.metrics.refusals.inc({ code: error.code });
  ctx.metrics.suspicious.inc({ rule: error.suspicious ?? 'broken_request' });
  if (!socket.writable) return;
  const status = code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
  const problem = { ...toProblem(error, requestId), status: Number(status.slice(0, 3)) };
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `X-Request-Id: ${requestId}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${body}`,
  );
}

function toAppError(code: string): AppError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new AppError('invalid_request', 'the header is larger than 16384 bytes', { suspicious: 'oversized_header' });
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new AppError('invalid_request', 'the request did not arrive in time', { suspicious: 'slow_request' });
  }
  return new AppError('invalid_request', 'this is not valid HTTP', { suspicious: 'broken_request' });
}
