import type { RequestListener } from 'node:http';
import { AppError } from '@cardea/contracts/errors';
import express from 'express';
import type { ErrorRequestHandler, RequestHandler, Response } from 'express';
import { answer } from './answer.ts';
import { beginExchange } from './exchange.ts';
import { refuse } from './refuse.ts';
import type { Exchange, ServerContext } from './exchange.ts';
import { originForm, refuseOddRequests } from './odd-requests.ts';
import { takes } from './route.ts';
import type { Route } from './route.ts';
import { startAtZero } from './start-at-zero.ts';
import { securityHeaders } from './security-headers.ts';

export interface AppOptions {
  ctx: ServerContext;
  routes: Route[];
  /** Handlers that run before any route, such as limits. */
  before?: RequestHandler[];
}

/** Answers the requests of a service by Express: serves every route of the contract, and refuses and records all else. */
export function createApp({ ctx, routes, before = [] }: AppOptions): RequestListener {
  startAtZero(ctx.metrics);
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
  return (req, res) => {
    // Before Express looks at the target.
    req.url = originForm(req.url ?? '');
    app(req, res);
  };
}

function serve(ctx: ServerContext, route: Route): RequestHandler {
  return async (req, res, next) => {
    const match = takes(route.endpoint, req.method) ? route.pattern.exec(req.path) : null;
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

function refuseUnrouted(routes: Route[]): RequestHandler {
  return (req, res) => {
    const known = routes.filter((route) => route.pattern.test(req.path));
    if (known.length === 0) throw new AppError('not_found', 'there is nothing at this path');
    const taken = known.map((route) => route.endpoint.method);
    const methods = [...new Set(taken.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])))].join(', ');
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
      // Between services only a failed call is worth a log line, because the audit log has a record of each call.
      // (Appends take the hot path. Their refusals are in the audit log and nowhere else.)
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
