import { onlyShows } from '@cardea/contracts/audit-actions';
import { Audited, NotModified } from '@cardea/contracts/audited';
import { callerKey } from '@cardea/contracts/caller-key';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import { z } from 'zod';
import { readBody, readJson } from './body.ts';
import { conditionsOf } from './conditions.ts';
import { readParameters } from './oauth.ts';
import { parseQuery } from './query.ts';
import { JSON_TYPE, parseInput } from './route.ts';
import type { FindCaller, Input, Reply, Route, Target } from './route.ts';
import type { Hold } from './shares.ts';
import type { Exchange, ServerContext } from './exchange.ts';
import { observe, send } from './send.ts';

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
  const letOthersIn = () => ctx.letOthersIn?.(callerKey(exchange.caller!));
  const body = await parseBody(exchange, route, letOthersIn);
  exchange.body = body;
  const input = { ...target, body, conditions: conditionsOf(req.headers, endpoint), headers: req.headers };
  const outcome = await inLane(ctx, exchange, async (hasWaited) => {
    // A client can hold back the end of a body for as long as it likes: what counts is who may do this now.
    const foundNow = isLate || hasWaited ? await identify(ctx, exchange, { route, target }) : found;
    const whole = { ...input, caller: exchange.caller, found: foundNow };
    const answered = await route.handle(whole as Input<never, never, never, true, never>);
    // The records of many requests are taken together. Without this, all their answers would be written in one turn.
    if (isLong(answered)) await letOthersIn();
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

// Only the fields of the contract are sent. An extra field is our bug and must not reach the client.
function toJson(endpoint: Endpoint, body: unknown): { text: string; contentType: string } {
  return { text: JSON.stringify(endpoint.response.parse(body)), contentType: JSON_TYPE };
}

async function parseBody(
  exchange: Exchange,
  route: Route,
  letOthersIn: () => Promise<void> | undefined,
): Promise<unknown> {
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
  const body = await readJson(exchange, bodyBytesMax, letOthersIn);
  return parseInput(endpoint.body, isNothing(endpoint, body) ? undefined : body, 'body');
}

// Many clients send an empty object with every POST. If the endpoint takes no body, it counts as no body.
function isNothing({ method, body: schema }: Endpoint, body: unknown): boolean {
  if (method !== 'POST' || !(schema instanceof z.ZodUndefined)) return false;
  return typeof body === 'object' && body !== null && !Array.isArray(body) && Object.keys(body).length === 0;
}
