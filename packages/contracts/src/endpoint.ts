import type { z } from 'zod';
import type { AuditAction } from './audit-actions.ts';

/**
 * One call of an HTTP interface: it validates, types, is served, is called, and becomes OpenAPI.
 *
 * `path` is a template. `{vault}` is one segment without a colon, `{+name}` spans
 * slashes (a secret's name), `{*principal}` is one segment in which a colon may stand.
 * Custom methods end in `:verb`.
 */
export interface Endpoint<
  Params extends z.ZodType = z.ZodType,
  Query extends z.ZodType = z.ZodType,
  Body extends z.ZodType = z.ZodType,
  Response extends z.ZodType = z.ZodType,
  Conditional extends boolean = boolean,
> {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  summary: string;
  /** What the audit log calls it, noun.verb: `secret.read`. */
  action: AuditAction;
  /** `none`: anybody may call it. Otherwise a bearer token (public) or the peer's certificate (between services). */
  auth: 'none' | 'bearer' | 'peer';
  /** The statuses of success, the first being the usual one. */
  statuses: readonly [number, ...number[]];
  /** Takes application/x-www-form-urlencoded too, as OAuth 2.0 wants it. */
  form?: boolean;
  /** Heeds If-Match and If-None-Match (RFC 9110 section 13). Elsewhere a change that is asked for on one is refused. */
  conditional?: Conditional;
  params: Params;
  query: Query;
  body: Body;
  response: Response;
}

/** Types an endpoint's description by its own schemas. */
export function endpoint<
  P extends z.ZodType,
  Q extends z.ZodType,
  B extends z.ZodType,
  R extends z.ZodType,
  C extends boolean = false,
>(description: Endpoint<P, Q, B, R, C>): Endpoint<P, Q, B, R, C> {
  return description;
}
