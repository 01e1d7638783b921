import type { RequestListener } from 'node:http';
import type { Caller } from '@cardea/contracts/caller';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import {
  changePassword,
  clientCredentials,
  endSession,
  listSessions,
  login,
  logout,
  refresh,
} from '@cardea/contracts/identity/auth';
import { probeHealth, readHealth, readOpenApi } from '@cardea/contracts/system';
import { followKekRotation, receiveKekRotation } from '@cardea/contracts/webhooks/kek-rotation';
import { createApp } from '@cardea/http/server/app';
import { createBounds } from '@cardea/http/server/bounds';
import { createCallerLanes } from '@cardea/http/server/caller-lanes';
import type { ServerContext } from '@cardea/http/server/exchange';
import { createHotPath } from '@cardea/http/server/hot-path';
import { toOpenApi } from '@cardea/http/server/openapi';
import examples from '../openapi-examples.json' with { type: 'json' };
import { limitReads, limitRequests } from '@cardea/http/server/rate-limit';
import type { Route } from '@cardea/http/server/route';
import { pauseIfLong } from '@cardea/storage/long-work';
import { recordDrop } from '@cardea/vault/refusal';
import { translate } from '@cardea/vault/translate';
import { createAuthenticate } from './authenticate.ts';
import type { ApiContext } from './context.ts';
import { createDenialWatch } from './limits/denial-watch.ts';
import { createRefusalFloods } from './limits/refusal-floods.ts';
import { createSuspicionReports } from './limits/suspicion-reports.ts';
import { openApiSchemas, operationIdOf } from './openapi-names.ts';
import { auditRoutes } from './routes/audit.ts';
import { eventRoutes } from './routes/events.ts';
import { grantRoutes } from './routes/grants.ts';
import { applicationRoutes } from './routes/identity/applications.ts';
import { authRoutes } from './routes/identity/auth.ts';
import { userRoutes } from './routes/identity/users.ts';
import { keyRoutes } from './routes/keys/keys.ts';
import { hotKeyRoutes, keyOperationRoutes } from './routes/keys/operations.ts';
import { keyTransferRoutes } from './routes/keys/transfer.ts';
import { rotationRoutes } from './routes/rotations.ts';
import { breakGlassRoutes } from './routes/secrets/break-glass.ts';
import { bulkRoutes } from './routes/secrets/bulk.ts';
import { documentRoutes } from './routes/secrets/documents.ts';
import { lifecycleRoutes } from './routes/secrets/lifecycle.ts';
import { listingRoutes } from './routes/secrets/listing.ts';
import { hotRoutes, secretRoutes } from './routes/secrets/secrets.ts';
import { sealRoutes } from './routes/seals.ts';
import { statusRoutes } from './routes/status.ts';
import { systemRoutes } from './routes/system.ts';
import { vaultRoutes } from './routes/vaults.ts';
import { kekRotationRoutes } from './routes/webhooks/kek-rotation.ts';
import { deliveryRoutes } from './routes/webhooks/deliveries.ts';
import type { TokenKeys } from './token-keys.ts';
import type { Tokens } from './tokens.ts';

// Every caller gets these, also a caller whose requests are dropped.
const alwaysAnswered = new Set<Endpoint>([readHealth, probeHealth, readOpenApi]);

// Sign-in and the webhook also work from an address whose requests are dropped. A whole office may share that address, or
// all clients if a proxy is not trusted, and one client must not lock out the others. This is safe: the throttle limits
// guesses of passwords, by name and by address, and sign-ins have a limit of their own. Refresh tokens, client secrets and
// secrets of the webhook have 256 random bits, so guesses are only load, and the limit of requests applies. Refusals are
// counted and recorded as usual.
const openToStrangers = new Set<Endpoint>([login, refresh, clientCredentials, receiveKekRotation, followKekRotation]);

// A thief of a token can get its account dropped. Its owner still gets rid of the thief: by ending the sessions, or by
// changing the password, whose guesses have limits of their own.
const openToOwners = new Set<Endpoint>([changePassword, logout, listSessions, endSession]);

/** The handler of the public port. */
export interface Front {
  listener: RequestListener;
  server: ServerContext;
  /** All endpoints, in the order of the OpenAPI document. */
  endpoints: Endpoint[];
  /** Stores the records and the webhooks of refusals that were counted and not stored yet. */
  flush(): Promise<void>;
}

/**
 * The public interface. A plain handler answers the most frequent calls; Express answers everything else. `stopping` ends
 * the calls that only wait.
 */
export function createListener(ctx: ApiContext, tokens: Tokens, keys: TokenKeys, stopping: AbortSignal): Front {
  const { vault, config, logger, metrics } = ctx;
  const { identify, stranger, recall } = createAuthenticate(vault, tokens, ctx.addresses);
  const floods = createRefusalFloods({ vault, logger, refusalsPerMinute: config.refusalsPerMinute });
  const suspicions = createSuspicionReports({ vault, logger });
  const watch = createDenialWatch({ refusalsPerMinute: config.refusalsPerMinute, steadyMs: vault.steadyMs });
  const server: ServerContext = {
    logger,
    metrics,
    // Refusals count for the account if the token is valid, and otherwise for the address. If they counted for the
    // account of an invalid token, a thief of an old token could get its owner dropped.
    async identify(req, endpoint, requestId, find) {
      if (alwaysAnswered.has(endpoint) || openToStrangers.has(endpoint)) return identify(req, endpoint, requestId);
      let caller: Caller;
      try {
        caller = await identify(req, endpoint, requestId, find);
      } catch (error) {
        watch.admit(stranger(req, requestId), error instanceof AppError ? error.actor : undefined);
        throw error;
      }
      if (!openToOwners.has(endpoint)) watch.admit(caller);
      return caller;
    },
    stranger,
    admitStranger: (caller) => watch.admit(caller),
    async recordRefusal(refusal) {
      const tripped = watch.count(refusal.caller, refusal.error.code);
      if (tripped) metrics.suspicious.inc({ rule: tripped });
      // A record of its own: the refusal that reached the limit may have tripped another rule.
      const drop = tripped && recordDrop(vault, refusal.caller, tripped);
      const suspicious = [refusal.error.suspicious, tripped].filter((rule) => rule !== undefined);
      const told = suspicious.map((rule) => suspicions.note(refusal, rule));
      await Promise.all([floods.record(refusal), drop, ...told]);
    },
    translate,
    bounds: createBounds(),
    lanes: createCallerLanes({ steadyMs: vault.steadyMs }),
    outsideLanes: openToOwners,
    letOthersIn: pauseIfLong,
    unreadMsMax: ctx.unreadMsMax,
  };
  const hotSecrets = hotRoutes(vault);
  const hotKeys = hotKeyRoutes(vault);
  const routes: Route[] = [
    ...systemRoutes(() => toOpenApi(endpoints, { examples, schemas: openApiSchemas, operationId: operationIdOf })),
    ...authRoutes(vault, tokens, keys, ctx.forgetInitialPassword),
    ...userRoutes(vault),
    ...applicationRoutes(vault),
    ...vaultRoutes(vault),
    ...eventRoutes(vault),
    ...grantRoutes(vault),
    ...hotSecrets,
    ...secretRoutes(vault),
    ...lifecycleRoutes(vault),
    ...breakGlassRoutes(vault, metrics),
    ...bulkRoutes(vault),
    ...documentRoutes(vault),
    ...listingRoutes(vault),
    ...keyRoutes(vault),
    ...keyTransferRoutes(vault),
    ...hotKeys,
    ...keyOperationRoutes(vault),
    ...rotationRoutes(vault),
    ...kekRotationRoutes(vault),
    ...deliveryRoutes(vault),
    ...sealRoutes(vault),
    ...auditRoutes(vault, { ...ctx, stopping }),
    ...statusRoutes(ctx),
  ];
  const endpoints = routes.map(({ endpoint }) => endpoint);
  const app = createApp({ ctx: server, routes, before: limitRequests(ctx, stranger) });
  const limit = limitReads(config.readsPerSecond);
  const hotPath = createHotPath({ ctx: server, routes: [...hotSecrets, ...hotKeys], recall, limit });
  const flush = async () => {
    await Promise.all([floods.flush(), suspicions.flush()]);
  };
  const listener: RequestListener = (req, res) => void (hotPath(req, res) || app(req, res));
  return { listener, server, endpoints, flush };
}
