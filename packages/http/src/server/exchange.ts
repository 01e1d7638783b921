import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { onlyShows } from '@cardea/contracts/audit-actions';
import { Audited, NotModified } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import type { Refusal } from '@cardea/contracts/refusal';
import type { Logger } from '@cardea/process/logger';
import type { Metrics } from '@cardea/process/metrics';
import { z } from 'zod';
import { readBody, readJson } from './body.ts';
import type { Admitted, Bounds } from './bounds.ts';
import type { CallerLanes } from './caller-lanes.ts';
import { conditionsOf } from './conditions.ts';
import { BASIC_CHALLENGE, oauthErrorOf, readParameters } from './oauth.ts';
import { retryAfterSeconds, toProblem } from './problem.ts';
import { parseQuery } from './query.ts';
import { requestSeries } from './request-metrics.ts';
import { JSON_TYPE, parseInput } from './route.ts';
import type { FindCaller, Input, Reply, Route, Target } from './route.ts';
import type { Hold } from './shares.ts';

/** What a server needs to answer requests, through Express or the hot path. */
export interface ServerContext {
  logger: Logger;
  metrics: Metrics;
  /** The verified caller. `find` looks up the account of a token. @throws AppError `unauthenticated` */
  identify(req: IncomingMessage, endpoint: Endpoint, requestId: string, find?: FindCaller): Promise<Caller>;
  /** The caller as far as it is known without trusting any claim of the request. */
  stranger(req: IncomingMessage, requestId: string): Caller;
  /**
   * Lets a caller without identity go on, unless too many of their requests were refused. Nobody is dropped without it.
   * @throws AppError `rate_limited`
   */
  admitStranger?(stranger: Caller): void;
  /** Records a refusal. Resolves once the record is durable. @throws AppError `unavailable` */
  recordRefusal(refusal: Refusal): Promise<void>;
  /** Turns an error of a package that knows no HTTP into an error that a client may see. */
  translate(error: unknown): AppError | undefined;
  /** What callers may have under way. A server of services has none: they are few, and bound what they send. */
  bounds?: Bounds;
  /** How many requests of a caller are handled at once. A server of services has none, for the same reason. */
  lanes?: CallerLanes;
  /** Calls that wait in no lane: with them, the owner of an account ends what a thief has under way. */
  outsideLanes?: ReadonlySet<Endpoint>;
  /**
   * Lets others in before a long list is written for a caller, if such work has kept the event loop for long. Undefined if it
   * has not. A server of services has none: they ask for few lists.
   */
  letOthersIn?(key: string): Promise<void> | undefined;
  /**
   * How long a client may take nothing of its answer, in milliseconds. Services wait without a limit: they follow each
   * other's states in answers that never end.
   */
  unreadMsMax?: number;
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
  /** What the request holds until it is answered. */
  admitted?: Admitted | undefined;
  /** Headers of every answer that are not yet set on `res`. */
  headers?: Record<string, string>;
}

export function beginExchange(req: IncomingMessage, res: ServerResponse): Exchange {
  return { req, res, requestId: crypto.randomUUID(), startedAt: performance.now() };
}

/** Answers one request by its route: identify, parse, handle, release. Express and the hot path both end here. */
export async function answer(ctx: ServerContext, exchange: Exchange, route: Route): Promise<void> {
  exchange.route = route;
  const target = parseTarget(exchange, route.endpoint);
  const found = await identify(ctx, exchange, { route, target });
  if (target instanceof AppError) throw target;
  exchange.admitted = ctx.bounds?.admit(exchange.caller!, route);
  try {
    await answerIdentified(ctx, exchange, { route, target, found });
  } finally {
    exchange.admitted?.held.release();
  }
}

async function answerIdentified(
  ctx: ServerContext,
  exchange: Exchange,
  { route, target, found }: { route: Route; target: Target<never, never>; found: unknown },
): Promise<void> {
  const { req } = exchange;
  const { endpoint } = route;
  await route.mayBegin?.({ caller: exchange.caller!, params: target.params, found: found as never });
  if (route.atOnce) holdUntilAnswered(exchange, route.atOnce.hold(callerKey(exchange.caller!)));
  const isLate = !req.complete;
  const body = await parseBody(exchange, route);
  exchange.body = body;
  const input = { ...target, body, conditions: conditionsOf(req.headers, endpoint), headers: req.headers };
  const outcome = await inLane(ctx, exchange, async (hasWaited) => {
    // A client can hold back the end of a body for as long as it likes: what counts is who may do this now.
    const foundNow = isLate || hasWaited ? await identify(ctx, exchange, { route, target }) : found;
    const whole = { ...input, caller: exchange.caller, found: foundNow };
    const answered = await route.handle(whole as Input<never, never, never, true, never>);
    // The records of many requests are taken together. Without this, all their answers would be written in one turn.
    if (isLong(answered)) await ctx.letOthersIn?.(callerKey(exchange.caller!));
    return answered;
  });
  // The record says that something was shown. A change stands, and its record too.
  if (exchange.res.destroyed && onlyShows(endpoint.action)) throw clientGone();
  release(ctx, exchange, outcome);
  // The answer may wait for its client for long, and the body must not wait with it.
  exchange.body = undefined;
}

/** To check and to write so many items takes about a millisecond. */
const LONG_LIST = 50;

function isLong(outcome: Reply<unknown> | Audited<Reply<unknown>> | NotModified): boolean {
  if (outcome instanceof NotModified) return false;
  const reply = outcome instanceof Audited ? outcome.value : outcome;
  const { items } = ('body' in reply ? (reply.body ?? {}) : {}) as { items?: unknown };
  return Array.isArray(items) && items.length > LONG_LIST;
}

/** Runs `work` when the lane of the caller has room. Strangers have none: see `Bounds`. */
async function inLane<T>(
  { lanes, outsideLanes }: ServerContext,
  { caller, route, res }: Exchange,
  work: (hasWaited: boolean) => Promise<T>,
): Promise<T> {
  const { endpoint } = route!;
  // Who asks for health all the time wants nothing that takes long.
  if (endpoint.auth === 'none' && endpoint.method === 'POST') lanes?.noteStranger();
  if (!lanes || endpoint.auth === 'none' || outsideLanes?.has(endpoint)) return await work(false);
  const key = callerKey(caller!);
  const wait = lanes.enter(key);
  try {
    if (wait) await wait;
    if (wait && res.destroyed) throw clientGone();
    return await work(wait !== undefined);
  } finally {
    lanes.leave(key);
  }
}

function holdUntilAnswered({ res }: Exchange, hold: Hold): void {
  hold.take(1);
  if (res.closed) hold.release();
  else res.once('close', hold.release);
}

type ParsedTarget = Target<never, never> | AppError;

// A request is refused for what it says only after its caller is known, so an error waits.
function parseTarget({ req, params }: Exchange, endpoint: Endpoint): ParsedTarget {
  try {
    const parsed = parseInput(endpoint.params, params, 'path');
    return { params: parsed, query: parseInput(endpoint.query, parseQuery(req.url), 'query') } as ParsedTarget;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
}

/** Sets the caller. Returns what the route has found together with the account. */
async function identify(
  ctx: ServerContext,
  exchange: Exchange,
  { route, target }: { route: Route; target: ParsedTarget },
): Promise<unknown> {
  const { findWithCaller } = route;
  let found: unknown;
  let find: FindCaller | undefined;
  if (findWithCaller && !(target instanceof AppError)) {
    find = async (claimed) => {
      const both = await findWithCaller(claimed, target);
      found = both.found;
      return both.caller;
    };
  }
  exchange.caller = await ctx.identify(exchange.req, route.endpoint, exchange.requestId, find);
  return found;
}

function clientGone(): AppError {
  return new AppError('gone', 'the client has gone before the answer', { rule: 'client-gone' });
}

/** The one place that writes a successful answer. */
function release(
  ctx: ServerContext,
  exchange: Exchange,
  outcome: Reply<unknown> | Audited<Reply<unknown>> | NotModified,
): void {
  const { endpoint } = exchange.route!;
  if (outcome instanceof NotModified) {
    send(ctx, exchange, 304, { ...exchange.headers, ...outcome.headers }, { empty: true });
    return observe(ctx, exchange);
  }
  const audited = outcome instanceof Audited;
  if (!audited && endpoint.auth === 'bearer') throw new Error(`${endpoint.action} answered without an audit record`);
  const reply = audited ? outcome.value : outcome;
  const headers: Record<string, string | number> = { ...exchange.headers, ...reply.headers };
  if (audited) headers['Cardea-Receipt'] = `seq=${outcome.receipt.seq} leaf=${outcome.receipt.leaf}`;
  const payload = 'body' in reply ? toJson(endpoint, reply.body) : reply;
  send(ctx, exchange, reply.status ?? endpoint.statuses[0], headers, payload);
  observe(ctx, exchange);
}

type Payload =
  | { text: string; contentType: string }
  | Extract<Reply<unknown>, { secretBytes: unknown } | { stream: unknown } | { empty: true }>;

function send(
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

// Only the fields of the contract are sent. An extra field is our bug and must not reach the client.
function toJson(endpoint: Endpoint, body: unknown): { text: string; contentType: string } {
  return { text: JSON.stringify(endpoint.response.parse(body)), contentType: JSON_TYPE };
}

/** The one place where an error becomes an answer. The error is recorded first; if that fails, the answer is 503. */
export async function refuse(ctx: ServerContext, exchange: Exchange, thrown: unknown): Promise<void> {
  const { req, res } = exchange;
  let error = toAppError(ctx, exchange, thrown);
  if (!exchange.route) error = refusalOfStranger(ctx, ctx.stranger(req, exchange.requestId), error);
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
  const payload = { text: JSON.stringify(problem), contentType: 'application/problem+json' };
  send(ctx, exchange, problem.status, headers, payload);
  observe(ctx, exchange);
}

/**
 * Why a request is refused that reaches no route, so that nothing asks who sent it: an address from which too many
 * requests were refused hears no more than that. Every such refusal goes through here.
 */
export function refusalOfStranger(ctx: ServerContext, stranger: Caller, error: AppError): AppError {
  if (error.code === 'rate_limited') return error;
  try {
    ctx.admitStranger?.(stranger);
    return error;
  } catch (dropped) {
    if (dropped instanceof AppError) return dropped;
    throw dropped;
  }
}

function toAppError(ctx: ServerContext, exchange: Exchange, thrown: unknown): AppError {
  if (thrown instanceof AppError) {
    if (thrown.rule === 'disk-full') logFullDisk(ctx, thrown);
    else if (thrown.code === 'internal' || thrown.code === 'unavailable') logFailure(ctx, exchange, thrown);
    return thrown;
  }
  const translated = ctx.translate(thrown);
  if (translated?.rule === 'disk-full') logFullDisk(ctx, translated);
  else logFailure(ctx, exchange, thrown);
  return translated ?? new AppError('internal', 'internal error', { cause: thrown });
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
    const isFull = cause instanceof AppError && cause.rule === 'disk-full';
    if (isFull) logFullDisk(ctx, cause);
    else logFailure(ctx, exchange, cause);
    if (isFull && error.code !== 'unavailable') return cause;
    if (error.code === 'unavailable') return error;
    return new AppError('unavailable', 'the audit log does not answer', { cause });
  }
}

const fullDiskToldAt = new WeakMap<Logger, number>();

// A line for each request would take what room is left.
function logFullDisk({ logger }: ServerContext, { message }: AppError): void {
  const now = performance.now();
  if (now - (fullDiskToldAt.get(logger) ?? -Infinity) < MINUTE_MS) return;
  fullDiskToldAt.set(logger, now);
  logger.error(`requests are refused with 503: ${message}: make room on it`);
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
