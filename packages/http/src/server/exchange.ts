import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { Audited, NotModified } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import type { Refusal } from '@cardea/contracts/refusal';
import type { Logger } from '@cardea/process/logger';
import type { Metrics } from '@cardea/process/metrics';
import { z } from 'zod';
import { readBody, readJson } from './body.ts';
import { conditionsOf } from './conditions.ts';
import { BASIC_CHALLENGE, oauthErrorOf, readParameters } from './oauth.ts';
import { retryAfterSeconds, toProblem } from './problem.ts';
import { parseQuery } from './query.ts';
import { requestSeries } from './request-metrics.ts';
import { parseInput } from './route.ts';
import type { Input, Reply, Route } from './route.ts';

/** What a server needs to answer requests, through Express or the hot path. */
export interface ServerContext {
  logger: Logger;
  metrics: Metrics;
  /** The verified caller. @throws AppError `unauthenticated` */
  identify(req: IncomingMessage, endpoint: Endpoint, requestId: string): Promise<Caller>;
  /** The caller as far as it is known without trusting any claim of the request. */
  stranger(req: IncomingMessage, requestId: string): Caller;
  /** Records a refusal. Resolves once the record is durable. @throws AppError `unavailable` */
  recordRefusal(refusal: Refusal): Promise<void>;
  /** Turns an error of a package that knows no HTTP into an error that a client may see. */
  translate(error: unknown): AppError | undefined;
}

/** One request that is being answered. */
export interface Exchange {
  req: IncomingMessage;
  res: ServerResponse;
  requestId: string;
  startedAt: number;
  route?: Route;
  caller?: Caller;
  params?: Record<string, string>;
  /** As the contract has parsed it. */
  body?: unknown;
  /** Headers of every answer that are not yet set on `res`. */
  headers?: Record<string, string>;
}

export function beginExchange(req: IncomingMessage, res: ServerResponse): Exchange {
  return { req, res, requestId: crypto.randomUUID(), startedAt: performance.now() };
}

/** Answers one request by its route: identify, parse, handle, release. Express and the hot path both end here. */
export async function answer(ctx: ServerContext, exchange: Exchange, route: Route): Promise<void> {
  const { req } = exchange;
  const { endpoint } = route;
  exchange.route = route;

  exchange.caller = await ctx.identify(req, endpoint, exchange.requestId);
  const params = parseInput(endpoint.params, exchange.params, 'path');
  const query = parseInput(endpoint.query, parseQuery(req.url), 'query');
  const isLate = !req.complete;
  const body = await parseBody(exchange, route);
  exchange.body = body;
  // A client can hold back the end of a body for as long as it likes: what counts is who may do this now.
  if (isLate) exchange.caller = await ctx.identify(req, endpoint, exchange.requestId);
  const conditions = conditionsOf(req.headers, endpoint);
  const input = { caller: exchange.caller, params, query, body, conditions, headers: req.headers };
  const outcome = await route.handle(input as Input<never, never, never, true>);
  release(ctx, exchange, outcome);
}

/** The one place that writes a successful answer. */
function release(
  ctx: ServerContext,
  exchange: Exchange,
  outcome: Reply<unknown> | Audited<Reply<unknown>> | NotModified,
): void {
  const { endpoint } = exchange.route!;
  if (outcome instanceof NotModified) {
    send(exchange, 304, { ...exchange.headers, ...outcome.headers }, { empty: true });
    return observe(ctx, exchange);
  }
  const audited = outcome instanceof Audited;
  if (!audited && endpoint.auth === 'bearer') throw new Error(`${endpoint.action} answered without an audit record`);
  const reply = audited ? outcome.value : outcome;
  const headers: Record<string, string | number> = { ...exchange.headers, ...reply.headers };
  if (audited) headers['Cardea-Receipt'] = `seq=${outcome.receipt.seq} leaf=${outcome.receipt.leaf}`;
  send(exchange, reply.status ?? endpoint.statuses[0], headers, 'body' in reply ? toJson(endpoint, reply.body) : reply);
  observe(ctx, exchange);
}

type Payload = { text: string; contentType: string } | Extract<Reply<unknown>, { stream: unknown } | { empty: true }>;

function send(exchange: Exchange, status: number, headers: Record<string, string | number>, payload: Payload): void {
  const { req, res } = exchange;
  headers['X-Request-Id'] = exchange.requestId;
  headers['Cache-Control'] = 'no-store';
  // RFC 6749 section 5.1 asks for it beside Cache-Control.
  if (exchange.route?.endpoint.oauth) headers['Pragma'] = 'no-cache';
  if ('empty' in payload) {
    res.writeHead(status, headers).end();
  } else if ('stream' in payload) {
    res.writeHead(status, { ...headers, 'Content-Type': payload.contentType });
    if (req.method === 'HEAD') return endUnread(res, payload.stream);
    payload.stream.on('error', (error) => res.destroy(error));
    // If the client has already disconnected, `res` emits no further `close`.
    if (res.destroyed) payload.stream.destroy();
    res.on('close', () => payload.stream.destroy());
    payload.stream.pipe(res);
  } else {
    headers['Content-Type'] = payload.contentType;
    headers['Content-Length'] = Buffer.byteLength(payload.text);
    // The body is text, so that header and body leave in one write.
    res.writeHead(status, headers).end(payload.text);
  }
}

// An answer to HEAD ends before its body. A stream that is not read to its end reports that as an error.
function endUnread(res: ServerResponse, stream: Readable): void {
  stream.on('error', () => {});
  stream.destroy();
  res.end();
}

// Only the fields of the contract are sent. An extra field is our bug and must not reach the client.
function toJson(endpoint: Endpoint, body: unknown): { text: string; contentType: string } {
  return { text: JSON.stringify(endpoint.response.parse(body)), contentType: 'application/json; charset=utf-8' };
}

/** The one place where an error becomes an answer. The error is recorded first; if that fails, the answer is 503. */
export async function refuse(ctx: ServerContext, exchange: Exchange, thrown: unknown): Promise<void> {
  const { req, res } = exchange;
  let error = toAppError(ctx, exchange, thrown);
  // Between services, the calling service records what `unavailable` meant for its own caller.
  const recordedElsewhere = error.code === 'unavailable' && exchange.route?.endpoint.auth === 'peer';
  if (!recordedElsewhere) error = await recorded(ctx, exchange, error);
  ctx.metrics.refusals.inc({ code: error.code });
  if (error.suspicious !== undefined) ctx.metrics.suspicious.inc({ rule: error.suspicious });
  if (res.headersSent) {
    res.destroy();
    return;
  }
  const isOauth = exchange.route?.endpoint.oauth === true;
  const problem = toProblem(error, exchange.requestId, isOauth ? oauthErrorOf(error) : undefined);
  const headers: Record<string, string | number> = { ...exchange.headers };
  const retryAfter = retryAfterSeconds(error);
  if (retryAfter !== undefined) headers['Retry-After'] = retryAfter;
  if (error.code === 'unauthenticated') headers['WWW-Authenticate'] = isOauth ? BASIC_CHALLENGE : 'Bearer';
  // The unread rest of a body would be taken for the next request.
  if (!req.complete) headers['Connection'] = 'close';
  send(exchange, problem.status, headers, { text: JSON.stringify(problem), contentType: 'application/problem+json' });
  observe(ctx, exchange);
}

function toAppError(ctx: ServerContext, exchange: Exchange, thrown: unknown): AppError {
  if (thrown instanceof AppError) {
    if (thrown.code === 'internal' || thrown.code === 'unavailable') logFailure(ctx, exchange, thrown);
    return thrown;
  }
  logFailure(ctx, exchange, thrown);
  return ctx.translate(thrown) ?? new AppError('internal', 'internal error', { cause: thrown });
}

async function recorded(ctx: ServerContext, exchange: Exchange, error: AppError): Promise<AppError> {
  const { req, requestId, route, caller, params = {}, body } = exchange;
  try {
    await ctx.recordRefusal({
      caller: caller ?? ctx.stranger(req, requestId),
      action: route?.endpoint.action ?? 'request.refuse',
      params,
      body,
      error,
    });
    return error;
  } catch (cause) {
    logFailure(ctx, exchange, cause);
    if (error.code === 'unavailable') return error;
    return new AppError('unavailable', 'the audit log does not answer', { cause });
  }
}

function logFailure(ctx: ServerContext, exchange: Exchange, error: unknown): void {
  ctx.logger.error('request failed', {
    requestId: exchange.requestId,
    method: exchange.req.method,
    route: exchange.route?.endpoint.path,
    error,
  });
}

function observe(ctx: ServerContext, exchange: Exchange): void {
  const { req, res, route, startedAt } = exchange;
  const series = requestSeries(ctx.metrics, req.method ?? '', route?.endpoint.path ?? 'none', res.statusCode);
  series.observe((performance.now() - startedAt) / 1000);
}

async function parseBody(exchange: Exchange, route: Route): Promise<unknown> {
  const { req } = exchange;
  const { endpoint, bodyBytesMax } = route;
  if (route.rawBody) return readBody(exchange, bodyBytesMax);
  if (
    endpoint.method === 'GET' &&
    req.headers['content-length'] === undefined &&
    req.headers['transfer-encoding'] === undefined
  ) {
    return parseInput(endpoint.body, undefined, 'body');
  }
  if (endpoint.oauth) {
    return parseInput(endpoint.body, await readParameters(exchange, endpoint.body, bodyBytesMax), 'body');
  }
  const body = await readJson(exchange, bodyBytesMax);
  return parseInput(endpoint.body, isNothing(endpoint, body) ? undefined : body, 'body');
}

// Many clients send an empty object with every POST. If the endpoint takes no body, it counts as no body.
function isNothing({ method, body: schema }: Endpoint, body: unknown): boolean {
  if (method !== 'POST' || !(schema instanceof z.ZodUndefined)) return false;
  return typeof body === 'object' && body !== null && !Array.isArray(body) && Object.keys(body).length === 0;
}
