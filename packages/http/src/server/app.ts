import type { IncomingMessage, RequestListener } from 'node:http';
import type { AuditActor } from '@cardea/contracts/audit-event';
import { AppError } from '@cardea/contracts/errors';
import express from 'express';
import type { ErrorRequestHandler, RequestHandler, Response } from 'express';
import { answer, beginExchange, refuse } from './exchange.ts';
import type { Exchange, ServerContext } from './exchange.ts';
import type { Route } from './route.ts';
import { constantHeaders, securityHeaders } from './security-headers.ts';

export interface AppOptions {
  ctx: ServerContext;
  routes: Route[];
  /** Run before any route: limits. */
  before?: RequestHandler[];
}

/** The Express application of a service: every route of the contract, and a recorded refusal for everything else. */
export function createApp({ ctx, routes, before = [] }: AppOptions): express.Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use((req, res, next) => {
    res.locals['exchange'] = beginExchange(req, res);
    next();
  });
  app.use(logAccess(ctx));
  app.use(securityHeaders);
  for (const handler of before) app.use(handler);
  app.use(refuseOddRequests);
  for (const route of routes) app.use(serve(ctx, route));
  app.use(refuseUnrouted(routes));
  app.use(refuseErrors(ctx));
  return app;
}

function serve(ctx: ServerContext, route: Route): RequestHandler {
  return async (req, res, next) => {
    const match = req.method === route.endpoint.method ? route.pattern.exec(req.path) : null;
    if (!match) return next();
    const exchange = exchangeOf(res);
    if (match.groups) exchange.params = { ...match.groups };
    await answer(ctx, exchange, route);
  };
}

/** The exchange that `createApp` began for this response. */
export function exchangeOf(res: Response): Exchange {
  return res.locals['exchange'] as Exchange;
}

// No name holds a character that needs percent-encoding, so one spelling of a path is
// enough; a second one would be a way around whoever compares paths, such as a proxy.
const refuseOddRequests: RequestHandler = (req, _res, next) => {
  if (!hasOneHost(req)) {
    throw new AppError('invalid_request', 'there must be one Host header', { suspicious: 'no_host' });
  }
  if (isOddPath(req.path) || req.url.includes('#')) {
    throw new AppError('invalid_request', 'the path must not be percent-encoded nor hold //, \\ or #', {
      suspicious: 'odd_path',
    });
  }
  next();
};

/** HTTP/1.1 asks for one and no more (RFC 9112 section 3.2); of several Node takes the first, and a proxy maybe the last. */
function hasOneHost({ headers, httpVersion, rawHeaders }: IncomingMessage): boolean {
  return headers.host === undefined ? httpVersion === '1.0' : timesSent(rawHeaders, 'host') === 1;
}

/** How often a field was sent, by its name in lower case: of several, Node shows the first for some and joins others. */
export function timesSent(rawHeaders: string[], field: string): number {
  let times = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.length === field.length && name.toLowerCase() === field) times += 1;
  }
  return times;
}

function isOddPath(path: string): boolean {
  return /[%\\]|\/\//.test(path);
}

function refuseUnrouted(routes: Route[]): RequestHandler {
  return (req, res) => {
    const known = routes.filter((route) => route.pattern.test(req.path));
    if (known.length === 0) throw new AppError('not_found', 'there is nothing at this path');
    const methods = known.map((route) => route.endpoint.method).join(', ');
    res.setHeader('Allow', methods);
    throw new AppError('method_not_allowed', `this path takes ${methods}`);
  };
}

function refuseErrors(ctx: ServerContext): ErrorRequestHandler {
  return async (error, _req, res, _next) => refuse(ctx, exchangeOf(res), error);
}

function logAccess(ctx: ServerContext): RequestHandler {
  return (req, res, next) => {
    res.on('finish', () => {
      const { requestId, startedAt, route, caller } = exchangeOf(res);
      // Between services only what went wrong is worth a line: a record of each call is in the audit log. (Of appends,
      // which take the hot path, refusals are in the audit log too and nowhere else.)
      const level = route?.endpoint.auth === 'peer' && res.statusCode < 400 ? 'debug' : 'info';
      ctx.logger[level]('request', {
        requestId,
        method: req.method,
        route: route?.endpoint.path,
        status: res.statusCode,
        durationMs: Math.round((performance.now() - startedAt) * 10) / 10,
        actorId: caller?.actor.id,
      });
    });
    next();
  };
}

/** What the hot path is made of. */
export interface HotPath {
  ctx: ServerContext;
  routes: Route[];
  /** Who asks, by a token that was found good before or by the certificate of the connection; undefined of any other. */
  recall(req: IncomingMessage): AuditActor | undefined;
  /** @throws AppError `rate_limited` */
  limit(exchange: Exchange, actor: AuditActor): void;
}

/**
 * Serves the few routes that machines call all day without Express: the same contract, identification, handler and
 * release, less machinery. Returns false for a request that is not theirs, and for one that `recall` does not know: it
 * goes the long way, where its address is limited before anything is verified.
 */
export function createHotPath(hotPath: HotPath): (...args: Parameters<RequestListener>) => boolean {
  const paths = createMatcher(hotPath.routes);
  return (req, res) => {
    const found = paths.find(req);
    const actor = found && hotPath.recall(req);
    if (!actor) return false;
    paths.remember(found);
    const exchange = beginExchange(req, res);
    if (found.params) exchange.params = found.params;
    exchange.route = found.route;
    exchange.headers = { ...constantHeaders };
    void answerHot(hotPath, exchange, actor);
    return true;
  };
}

async function answerHot({ ctx, limit }: HotPath, exchange: Exchange, actor: AuditActor): Promise<void> {
  try {
    limit(exchange, actor);
    await answer(ctx, exchange, exchange.route!);
  } catch (error) {
    await refuse(ctx, exchange, error);
  }
}

interface Match {
  path: string;
  route: Route;
  /** Shared by every request for this path. */
  params?: Readonly<Record<string, string>>;
}

const PATHS_MAX = 1_000;
// Longer than any that is there.
const PATH_CHARACTERS_MAX = 700;

/** Finds the route of a request. Which one a path leads to never changes, so the last that were asked for are remembered. */
function createMatcher(routes: Route[]) {
  const known = new Map<string, Match>();
  return {
    find(req: IncomingMessage): Match | undefined {
      const url = req.url ?? '';
      if (!hasOneHost(req) || url.includes('#')) return undefined;
      const mark = url.indexOf('?');
      const path = mark < 0 ? url : url.slice(0, mark);
      const before = known.get(path);
      return before?.route.endpoint.method === req.method ? before : match(routes, req.method, path);
    },
    remember(found: Match): void {
      if (found.path.length > PATH_CHARACTERS_MAX || known.get(found.path) === found) return;
      if (known.size >= PATHS_MAX) known.clear();
      known.set(found.path, found);
    },
  };
}

// Anything odd goes the long way, where it is refused.
function match(routes: Route[], method: string | undefined, path: string): Match | undefined {
  if (isOddPath(path)) return undefined;
  for (const route of routes) {
    const found = method === route.endpoint.method ? route.pattern.exec(path) : null;
    if (found) return { path, route, ...(found.groups ? { params: Object.freeze({ ...found.groups }) } : {}) };
  }
  return undefined;
}
