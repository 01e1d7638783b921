import type { IncomingMessage, RequestListener } from 'node:http';
import type { AuditActor } from '@cardea/contracts/audit-event';
import { answer } from './answer.ts';
import { beginExchange } from './exchange.ts';
import { refuse } from './refuse.ts';
import type { Exchange, ServerContext } from './exchange.ts';
import { canonicalPath, isOddPath, oddityOf } from './odd-requests.ts';
import { takes } from './route.ts';
import type { Route } from './route.ts';
import { constantHeaders } from './security-headers.ts';

/** The parts of the hot path. */
export interface HotPath {
  ctx: ServerContext;
  routes: Route[];
  /** The caller, from a token that was verified before or the certificate of the connection; undefined otherwise. */
  recall(req: IncomingMessage): AuditActor | undefined;
  /** @throws AppError `rate_limited` */
  limit(exchange: Exchange, actor: AuditActor): void;
}

/**
 * Serves without Express the few routes that machines call all day. Contract, identification, handler and release are
 * the same, with less machinery. Returns false for a request to any other route, and for a caller that `recall` does
 * not know. Express then serves the request and limits its address before anything is verified.
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
  /** In its one spelling. */
  path: string;
  route: Route;
  /** Shared by every request for this path. */
  params?: Readonly<Record<string, string>>;
}

const PATHS_MAX = 1_000;

// Longer than any existing path.
const PATH_CHARACTERS_MAX = 700;

/** Finds the route of a request. The route of a path never changes, so the matcher remembers recent paths. */
function createMatcher(routes: Route[]) {
  const known = new Map<string, Match>();
  return {
    find(req: IncomingMessage): Match | undefined {
      const url = req.url ?? '';
      if (oddityOf(req) || url.includes('#')) return undefined;
      const mark = url.indexOf('?');
      const path = canonicalPath(mark < 0 ? url : url.slice(0, mark));
      const before = known.get(path);
      return before && takes(before.route.endpoint, req.method) ? before : match(routes, req.method, path);
    },
    remember(found: Match): void {
      if (found.path.length > PATH_CHARACTERS_MAX || known.get(found.path) === found) return;
      if (known.size >= PATHS_MAX) known.clear();
      known.set(found.path, found);
    },
  };
}

// Express gets every odd path and refuses it.
export function match(routes: Route[], method: string | undefined, path: string): Match | undefined {
  if (isOddPath(path)) return undefined;
  for (const route of routes) {
    const found = takes(route.endpoint, method) ? route.pattern.exec(path) : null;
    if (found) return { path, route, ...(found.groups ? { params: Object.freeze({ ...found.groups }) } : {}) };
  }
  return undefined;
}
