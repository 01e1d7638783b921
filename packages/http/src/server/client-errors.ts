import { IncomingMessage, STATUS_CODES } from 'node:http';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { AppError } from '@cardea/contracts/errors';
import { refusalOfStranger } from './refuse.ts';
import type { ServerContext } from './exchange.ts';
import { whenAnswered } from './in-order.ts';
import { retryAfterSeconds, toProblem } from './problem.ts';
import { constantHeaders } from './security-headers.ts';
import { HEADER_BYTES_MAX, HEADER_FIELDS_MAX } from './serve.ts';

const LINGER_MS = 1_000;

/**
 * Answers and records what never became a request: broken HTTP, a header over the limit, a client that stalls.
 * Node reports these on the connection, not to the application.
 */
export function refuseBrokenRequests(server: Server, ctx: ServerContext): void {
  const refused = new WeakSet<Duplex>();
  // Node reports every further piece that it cannot read. One answer and one record are enough.
  const refuseOnce = (socket: Duplex, code: string) => {
    if (refused.has(socket)) return;
    refused.add(socket);
    void refuseConnection(ctx, socket as Socket, toAppError(code));
  };
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !(socket.writable || refused.has(socket))) socket.destroy();
    else refuseOnce(socket, error.code ?? '');
  });
  // Without this listener Node closes a connection that asks for a tunnel, and sends no answer.
  server.on('connect', (_req, socket) => refuseOnce(socket, 'CONNECT'));
}

/** Records an error, answers it and closes the connection. */
export async function refuseConnection(ctx: ServerContext, socket: Socket, reason: AppError): Promise<void> {
  socket.on('error', () => socket.destroy());
  const requestId = crypto.randomUUID();
  const caller = ctx.stranger(new IncomingMessage(socket), requestId);
  const error = refusalOfStranger(ctx, caller, reason);
  try {
    await ctx.recordRefusal({ caller, action: 'request.refuse', params: {}, body: undefined, error });
  } catch (cause) {
    ctx.logger.error('a broken request was not recorded', { requestId, error: cause });
  }
  ctx.metrics.refusals.inc({ code: error.code });
  if (error.suspicious !== undefined) ctx.metrics.suspicious.inc({ rule: error.suspicious });
  // An answer to what is broken must not be taken for that to a request before it, which may have changed something.
  await whenAnswered(socket);
  if (socket.writable) socket.end(toAnswer(error, requestId));
  // Closing at once, with unread bytes of the client, would reset the connection and lose the answer.
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

function toAppError(code: string): AppError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    // Node says no more than that one of its two limits was passed.
    const message = `the header is larger than ${HEADER_BYTES_MAX} bytes, or has more than ${HEADER_FIELDS_MAX} fields`;
    return new AppError('invalid_request', message, { status: 431, suspicious: 'oversized_header' });
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new AppError('invalid_request', 'the request did not arrive in time', {
      status: 408,
      suspicious: 'slow_request',
    });
  }
  return new AppError('invalid_request', 'this is not valid HTTP', { suspicious: 'broken_request' });
}

function toAnswer(error: AppError, requestId: string): string {
  const problem = toProblem(error, requestId);
  const body = JSON.stringify(problem);
  const retryAfter = retryAfterSeconds(error);
  const headers = {
    ...constantHeaders,
    'Content-Type': 'application/problem+json',
    'Content-Length': Buffer.byteLength(body),
    'X-Request-Id': requestId,
    'Cache-Control': 'no-store',
    ...(retryAfter === undefined ? {} : { 'Retry-After': retryAfter }),
    Connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${lines.join('')}\r\n${body}`;
}
