import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { AppError } from '@cardea/contracts/errors';
import { requestSeries } from './request-metrics.ts';
import type { Reply } from './route.ts';
import type { Exchange, ServerContext } from './exchange.ts';
import { recorded } from './recorded.ts';

type Payload =
  | { text: string; contentType: string }
  | Extract<Reply<unknown>, { secretBytes: unknown } | { stream: unknown } | { empty: true }>;

/** Writes an answer: the head with its constant headers, and what follows. */
export function send(
  ctx: ServerContext,
  exchange: Exchange,
  status: number,
  headers: Record<string, string | number>,
  payload: Payload,
): void {
  const { req, res } = exchange;
  if (ctx.unreadMsMax !== undefined) closeIfUnread(res, ctx.unreadMsMax);
  headers['X-Request-Id'] = exchange.requestId;
  headers['Cache-Control'] ??= 'no-store';
  // RFC 6749 section 5.1 asks for it beside Cache-Control.
  if (exchange.route?.endpoint.oauth) headers['Pragma'] = 'no-cache';
  if ('empty' in payload) {
    res.writeHead(status, headers).end();
  } else if ('stream' in payload) {
    res.writeHead(status, { ...headers, 'Content-Type': payload.contentType });
    if (req.method === 'HEAD') return endUnread(res, payload.stream);
    payload.stream.on('error', (error) => res.destroy(error));
    const ended = () => {
      payload.stream.destroy();
      if (!res.writableFinished) void recordBrokenOff(ctx, exchange);
    };
    // If the client has already disconnected, `res` emits no further `close`.
    if (res.destroyed) return ended();
    res.on('close', ended);
    payload.stream.pipe(res);
  } else if ('secretBytes' in payload) {
    const { secretBytes, contentType } = payload;
    const overwrite = () => secretBytes.fill(0);
    if (res.closed) overwrite();
    else res.once('close', overwrite);
    res.writeHead(status, { ...headers, 'Content-Type': contentType, 'Content-Length': secretBytes.length });
    res.end(secretBytes);
  } else {
    headers['Content-Type'] = payload.contentType;
    headers['Content-Length'] = Buffer.byteLength(payload.text);
    // The body is text, so that header and body leave in one write.
    res.writeHead(status, headers).end(payload.text);
  }
}

// Closes the connection of a client that takes nothing of its answer for so long: the answer would stay in memory.
function closeIfUnread(res: ServerResponse, ms: number): void {
  res.setTimeout(ms, () => {
    const isWaitingForClient = res.writableLength > 0 || res.writableEnded;
    if (isWaitingForClient) res.destroy();
    else res.socket?.setTimeout(ms);
  });
}

// The record of the request says that it was allowed, and its reader has only a part (I10).
async function recordBrokenOff(ctx: ServerContext, exchange: Exchange): Promise<void> {
  // Between services, the calling service records what became of the answer.
  if (exchange.route?.endpoint.auth !== 'bearer') return;
  const error = new AppError('unavailable', 'the answer broke off before its end', { rule: 'broken-off' });
  await recorded(ctx, exchange, error);
}

// An answer to HEAD ends before its body. A stream that is not read to its end reports that as an error.
function endUnread(res: ServerResponse, stream: Readable): void {
  stream.on('error', () => {});
  stream.destroy();
  res.end();
}

/** Counts an answer, and times it. */
export function observe(ctx: ServerContext, exchange: Exchange): void {
  const { req, res, route, startedAt } = exchange;
  const series = requestSeries(ctx.metrics, req.method ?? '', route?.endpoint.path ?? 'none', res.statusCode);
  series.observe((performance.now() - startedAt) / 1000);
}
