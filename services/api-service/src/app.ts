import type { RequestListener } from 'node:http';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import * as auditLog from '@cardea/contracts/audit-log';
import * as applications from '@cardea/contracts/applications';
import * as auth from '@cardea/contracts/auth';
import * as grants from '@cardea/contracts/grants';
import * as secrets from '@cardea/contracts/secrets';
import * as system from '@cardea/contracts/system';
import * as users from '@cardea/contracts/users';
import * as vaults from '@cardea/contracts/vaults';
import { createApp, createHotPath } from '@cardea/http/app';
import type { Refusal, ServerContext } from '@cardea/http/exchange';
import type { Metrics } from '@cardea/http/metrics';
import { toOpenApi } from '@cardea/http/openapi';
import { limitReads, limitRequests } from '@cardea/http/rate-limit';
import { recordRefusal } from '@cardea/vault/refusal';
import { translate } from '@cardea/vault/translate';
import { createAuthenticate } from './authenticate.ts';
import type { ApiContext } from './context.ts';
import { createDenialWatch } from './denial-watch.ts';
import type { DenialWatch } from './denial-watch.ts';
import { applicationRoutes } from './routes/applications.ts';
import { auditRoutes } from './routes/audit.ts';
import { authRoutes } from './routes/auth.ts';
import { grantRoutes } from './routes/grants.ts';
import { hotRoutes, secretRoutes } from './routes/secrets.ts';
import { systemRoutes } from './routes/system.ts';
import { userRoutes } from './routes/users.ts';
import { vaultRoutes } from './routes/vaults.ts';
import type { TokenKeys } from './token-keys.ts';
import type { Tokens } from './tokens.ts';

/** Every endpoint of the public interface, in the order of its document. */
export const endpoints: Endpoint[] = [system, auth, users, applications, vaults, grants, secrets, auditLog].flatMap(
  (module) => Object.values(module).filter((value): value is Endpoint => isEndpoint(value)),
);

function isEndpoint(value: unknown): value is Endpoint {
  return typeof value === 'object' && value !== null && 'method' in value && 'path' in value;
}

// Health stays up for everybody, also for somebody who is being dropped.
const alwaysAnswered = new Set<Endpoint>([system.readHealth, system.readOpenApi]);

/** The public interface: Express for everything, and a plain handler in front for what machines call all day. */
export function createListener(
  ctx: ApiContext,
  tokens: Tokens,
  keys: TokenKeys,
): { listener: RequestListener; server: ServerContext } {
  const { vault, config, logger, metrics } = ctx;
  const { identify, stranger } = createAuthenticate(vault, tokens, config.trustedProxies);
  const watch = createDenialWatch({ refusalsPerMinute: config.refusalsPerMinute, now: vault.now });
  const server: ServerContext = {
    logger,
    metrics,
    // Who shows a good token is judged by who they are, anybody else by where they come from.
    async identify(req, endpoint, requestId) {
      if (alwaysAnswered.has(endpoint)) return identify(req, endpoint, requestId);
      const caller = await identify(req, endpoint, requestId).catch((error: unknown) => {
        watch.admit(stranger(req, requestId));
        throw error;
      });
      watch.admit(caller);
      return caller;
    },
    stranger,
    recordRefusal: (refusal) => recordRefusal(vault, watched(watch, refusal, metrics)),
    translate,
  };
  const hot = hotRoutes(vault);
  const routes = [
    ...systemRoutes(toOpenApi(endpoints)),
    ...authRoutes(vault, tokens, keys, ctx.forgetInitialPassword),
    ...userRoutes(vault),
    ...applicationRoutes(vault),
    ...vaultRoutes(vault),
    ...grantRoutes(vault),
    ...secretRoutes(vault),
    ...hot,
    ...auditRoutes(vault, ctx.auditService, ctx.exports),
  ];
  const app = createApp({ ctx: server, routes, before: limitRequests(ctx, stranger) });
  const hotPath = createHotPath(server, hot, limitReads(config.readsPerSecond));
  const listener: RequestListener = (req, res) => void (hotPath(req, res) || app(req, res));
  return { listener, server };
}

// A refusal that is one too many is suspicious, whatever it was refused for.
function watched(watch: DenialWatch, refusal: Refusal, metrics: Metrics): Refusal {
  const { caller, error } = refusal;
  const suspicious = watch.count(caller, error.code);
  if (suspicious === undefined || error.suspicious !== undefined) return refusal;
  metrics.suspicious.inc({ rule: suspicious });
  const { code, message, rule, retryAfterSeconds } = error;
  const options = {
    cause: error,
    suspicious,
    ...(rule ? { rule } : {}),
    ...(retryAfterSeconds ? { retryAfterSeconds } : {}),
  };
  return { ...refusal, error: new AppError(code, message, options) };
}
