import type { RequestListener } from 'node:http';
import type { Endpoint } from '@cardea/contracts/endpoint';
import * as auditLog from '@cardea/contracts/audit-log';
import * as auth from '@cardea/contracts/auth';
import * as secrets from '@cardea/contracts/secrets';
import * as system from '@cardea/contracts/system';
import * as vaults from '@cardea/contracts/vaults';
import { createApp, createHotPath } from '@cardea/http/app';
import type { ServerContext } from '@cardea/http/exchange';
import { toOpenApi } from '@cardea/http/openapi';
import { createTokenBucket, limitRequests } from '@cardea/http/rate-limit';
import { recordRefusal } from '@cardea/vault/refusal';
import { translate } from '@cardea/vault/translate';
import { createAuthenticate } from './authenticate.ts';
import type { ApiContext } from './context.ts';
import { auditRoutes } from './routes/audit.ts';
import { authRoutes } from './routes/auth.ts';
import { hotRoutes, secretRoutes } from './routes/secrets.ts';
import { systemRoutes } from './routes/system.ts';
import { vaultRoutes } from './routes/vaults.ts';
import type { Tokens } from './tokens.ts';

/** Every endpoint of the public interface, in the order of its document. */
export const endpoints: Endpoint[] = [system, auth, vaults, secrets, auditLog].flatMap((module) =>
  Object.values(module).filter((value): value is Endpoint => isEndpoint(value)),
);

function isEndpoint(value: unknown): value is Endpoint {
  return typeof value === 'object' && value !== null && 'method' in value && 'path' in value;
}

/** The public interface: Express for everything, and a plain handler in front for what machines call all day. */
export function createListener(ctx: ApiContext, tokens: Tokens): { listener: RequestListener; server: ServerContext } {
  const { vault, config, logger, metrics } = ctx;
  const { identify, stranger } = createAuthenticate(vault, tokens, config.trustedProxies);
  const server: ServerContext = {
    logger,
    metrics,
    identify,
    stranger,
    recordRefusal: (refusal) => recordRefusal(vault, refusal),
    translate,
  };
  const hot = hotRoutes(vault);
  const routes = [
    ...systemRoutes(toOpenApi(endpoints)),
    ...authRoutes(vault, tokens),
    ...vaultRoutes(vault),
    ...secretRoutes(vault),
    ...hot,
    ...auditRoutes(vault, ctx.auditService),
  ];
  const app = createApp({ ctx: server, routes, before: limitRequests(ctx, stranger) });
  const bucket = createTokenBucket({ perSecond: config.readsPerSecond, clock: () => performance.now() });
  const hotPath = createHotPath(server, hot, ({ req }) => bucket.take(req.headers.authorization ?? ''));
  const listener: RequestListener = (req, res) => void (hotPath(req, res) || app(req, res));
  return { listener, server };
}
