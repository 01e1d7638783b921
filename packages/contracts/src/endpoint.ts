import type { z } from 'zod';
import type { AuditAction } from './audit-actions.ts';

/**
 * One call of an HTTP interface. The server, the client and the OpenAPI document are made from it.
 *
 * `path` is a template. `{vault}` is one segment without a colon. `{+name}` is a name with slashes, such as that of a
 * secret. `{*principal}` is one segment that may contain a colon. Custom methods end in `:verb`.
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
  /** The action in the audit log, noun.verb: `secret.read`. */
  action: AuditAction;
  /** `none`: anybody may call it. `bearer`: needs a bearer token. `peer`: needs the certificate of a service. */
  auth: 'none' | 'bearer' | 'peer';
  /** Signed by a secret of the webhook instead of a token: with the header fields of Standard Webhooks. */
  signed?: boolean;
  /** The statuses of success. The first is the usual one. */
  statuses: readonly [number, ...number[]];
  /**
   * A token endpoint of OAuth 2.0 (RFC 6749): also takes a form, ignores unknown parameters (the schema of its body must
   * allow them), takes an empty one as not sent, and names its errors as OAuth does.
   */
  oauth?: boolean;
  /** Supports If-Match and If-None-Match (RFC 9110 section 13). Other endpoints refuse a change with a condition. */
  conditional?: Conditional;
  /** Answers the `value` of its response alone to a client that prefers text/plain or application/octet-stream to JSON. */
  bare?: boolean;
  params: Params;
  query: Query;
  /** For the document: parameters of the query whose names the client chooses, each under a name that is an example. */
  freeQuery?: z.ZodObject;
  body: Body;
  response: Response;
}

/** Gives the description of an endpoint the types of its schemas. */
export function endpoint<
  P extends z.ZodType,
  Q extends z.ZodType,
  B extends z.ZodType,
  R extends z.ZodType,
  C extends boolean = false,
>(description: Endpoint<P, Q, B, R, C>): Endpoint<P, Q, B, R, C> {
  return description;
}
