import type { IncomingMessage, RequestListener } from 'node:http';
import { AppError } from '@cardea/contracts/errors';
import express from 'express';
import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express';
import helmet from 'helmet';
import { answer, beginExchange, refuse } from './exchange.ts';
import type { Exchange, ServerContext } from './exchange.ts';
import type { Route } from './route.ts';

/** Security headers of an interface that only speaks JSON. */
const securityHeaders = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] },
  },
  crossOriginResourcePolicy: { policy: 'same-origin' },
  referrerPolicy: { policy: 'no-referrer' },
});

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
  app.use(refuseOddUrls);
  for (const handler of before) app.use(handler);
  for (const route of routes) app.use(serve(ctx, route));
  app.use((req) => {
    throw noRoute(routes, req);
  });
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
const refuseOddUrls: RequestHandler = (req, _res, next) => {
  if (/[%\\]|\/\//.test(req.path)) {
    throw new AppError('invalid_request', 'the path must not be percent-encoded nor hold // or \\', {
      suspicious: 'odd_path',
    });
  }
  next();
};

function noRoute(routes: Route[], req: Request): AppError {
  const known = routes.filter((route) => route.pattern.test(req.path));
  if (known.length === 0) return new AppError('not_found', 'there is nothing at this path');
  const methods = known.map((route) => route.endpoint.method).join(', ');
  return new AppError('method_not_allowed', `this path takes ${methods}`);
}

function refuseErrors(ctx: ServerContext): ErrorRequestHandler {
  return async (error, _req, res, _next) => refuse(ctx, exchangeOf(res), error);
}

function logAccess(ctx: ServerContext): RequestHandler {
  return (req, res, next) => {
    res.on('finish', () => {
      const { requestId, startedAt, route, caller } = exchangeOf(res);
      // Between services only what went wrong is worth a line: a record of each call is in the audit log.
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

/**
 * Serves the few routes that machines call all day without Express: the same contract, identification,
 * handler and release, less machinery. Returns false for a request that is not theirs.
 */
export function createHotPath(
  ctx: ServerContext,
  routes: Route[],
  admit: (exchange: Exchange) => void,
): (...args: Parameters<RequestListener>) => boolean {
  const headers = Object.entries(constantHeaders());
  return (req, res) => {
    const found = match(routes, req);
    if (!found) return false;
    const exchange = beginExchange(req, res);
    exchange.params = found.params;
    exchange.route = found.route;
    for (const [name, value] of headers) res.setHeader(name, value);
    void answerHot(ctx, exchange, admit);
    return true;
  };
}

async function answerHot(ctx: ServerContext, exchange: Exchange, admit: (exchange: Exchange) => void): Promise<void> {
  try {
    admit(exchange);
    await answer(ctx, exchange, exchange.route!);
  } catch (error) {
    await refuse(ctx, exchange, error);
  }
}

function match(routes: Route[], req: IncomingMessage): { route: Route; params: Record<string, string> } | undefined {
  const url = req.url ?? '';
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  for (const route of routes) {
    const found = req.method === route.endpoint.method ? route.pattern.exec(path) : null;
    // A path with anything odd in it goes the long way, where it is refused.
    if (found && !/[%\\]|\/\//.test(path)) return { route, params: { ...found.groups } };
  }
  return undefined;
}

// helmet is asked once what it would say; its headers do not depend on the request.
function constantHeaders(): Record<string, string> {
  const headers: Record<string, string> = {};
  const response = {
    setHeader: (name: string, value: string) => void (headers[name] = value),
    removeHeader: () => {},
  };
  securityHeaders({} as never, response as never, () => {});
  return headers;
}
