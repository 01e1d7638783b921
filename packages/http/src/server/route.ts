import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { Audited, NotModified } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import type { OauthError } from '@cardea/contracts/errors';
import type { z } from 'zod';
import { plainMessage } from './plain-message.ts';
import type { Shares } from './shares.ts';

/** What a handler gets: only input that the contract has parsed. */
export type Input<P, Q, B, C extends boolean, F = undefined> = Target<P, Q> & {
  caller: Caller;
  body: B;
  /** What `Route.findWithCaller` has found. */
  found: F;
  /** The headers of the request. Few endpoints need them. */
  headers: IncomingHttpHeaders;
} & (C extends true ? { conditions: Conditions } : unknown);

/** The content type of an answer in JSON. */
export const JSON_TYPE = 'application/json; charset=utf-8';

/** What the path and the query of a request name, as the contract has parsed them. */
export interface Target<P, Q> {
  params: P;
  query: Q;
}

/** Finds out who the holder of a verified token is now. @throws AppError `unauthenticated` */
export type FindCaller = (claimed: Caller) => Promise<Caller>;

/** What a handler answers. The default status is the first one of the endpoint. */
export type Reply<R> = { status?: number; headers?: Record<string, string> } & (
  | { body: R }
  | { text: string; contentType: string }
  /** The bytes are overwritten once they have left. */
  | { secretBytes: Uint8Array; contentType: string }
  | { stream: Readable; contentType: string }
  | { empty: true }
);

/** An endpoint with its handler, as a server serves it. The types of its input and answer are erased. */
export interface Route {
  endpoint: Endpoint;
  pattern: RegExp;
  bodyBytesMax: number;
  /** The handler parses the body's bytes itself. */
  rawBody: boolean;
  /** Decides before the body is read whether the caller may send it at all. @throws AppError */
  mayBegin?: MayBegin<never, never> | undefined;
  /** What the request holds one of until its answer has left. */
  atOnce?: Shares | undefined;
  /**
   * Looks up the account of the caller together with what the handler needs of the target, where a statement of its own
   * for each would cost too much time. The handler decides, also about what the caller may see.
   */
  findWithCaller?(claimed: Caller, target: Target<never, never>): Promise<{ caller: Caller; found: unknown }>;
  handle(
    input: Input<never, never, never, true, never>,
  ): Promise<Reply<unknown> | Audited<Reply<unknown>> | NotModified>;
}

type Handler<P extends z.ZodType, Q extends z.ZodType, B, Result, C extends boolean = false, F = undefined> = (
  input: Input<z.output<P>, z.output<Q>, B, C, F>,
) => Promise<Result>;

/** The most bytes of a body, unless an endpoint takes a large one. */
export const BODY_BYTES_MAX = 128 * 1024;

/** The most bytes of a body from a caller without a token. */
const STRANGER_BODY_BYTES_MAX = 16 * 1024;

type MayBegin<P, F> = (input: { caller: Caller; params: P; found: F }) => unknown;

/**
 * Options of a route. Who may send a large body, or take one of a few places, is decided before: it costs others
 * something.
 */
type RouteOptions<P extends z.ZodType, F> =
  | { atOnce?: Shares; bodyBytesMax?: number; mayBegin: MayBegin<z.output<P>, F> }
  | { atOnce?: undefined; bodyBytesMax?: undefined; mayBegin?: undefined };

/**
 * Binds a public endpoint to its handler. The handler answers with an `Audited` reply, which exists only once its
 * record is on disk, so nothing is released before. Or it answers with `NotModified`, which releases nothing.
 * The handler of a `conditional` endpoint gets the parsed conditions of the request. A body has at most 128 KiB unless
 * `bodyBytesMax` says otherwise, and at most 16 KiB from a caller without a token.
 */
export function route<
  P extends z.ZodType,
  Q extends z.ZodType,
  B extends z.ZodType,
  R extends z.ZodType,
  C extends boolean,
  F = undefined,
>(
  endpoint: Endpoint<P, Q, B, R, C>,
  handle: Handler<P, Q, z.output<B>, Audited<Reply<z.input<R>>> | NotModified, C, F>,
  options: RouteOptions<P, F> & {
    findWithCaller?(claimed: Caller, target: Target<z.output<P>, z.output<Q>>): Promise<{ caller: Caller; found: F }>;
  } = {},
): Route {
  return bind(endpoint, handle, { rawBody: false, ...options });
}

/**
 * Binds an endpoint whose answers need no record: calls between services, health, documents. An answer that is always
 * the same is written once, as `text`, because a stranger may ask for it all day.
 */
export function plainRoute<
  P extends z.ZodType,
  Q extends z.ZodType,
  B extends z.ZodType,
  R extends z.ZodType,
  C extends boolean,
>(endpoint: Endpoint<P, Q, B, R, C>, handle: Handler<P, Q, z.output<B>, Reply<z.input<R>> | NotModified, C>): Route {
  return bind(endpoint, handle, { rawBody: false });
}

/** For a handler that must see the body's exact bytes. Its answer needs no record, or comes with one. */
export function rawRoute<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
  endpoint: Endpoint<P, Q, B, R>,
  handle: Handler<P, Q, Uint8Array, Reply<z.input<R>> | Audited<Reply<z.input<R>>>>,
  options: { bodyBytesMax: number },
): Route {
  return bind(endpoint, handle, { ...options, rawBody: true });
}

function bind(
  endpoint: Endpoint,
  handle: unknown,
  {
    bodyBytesMax,
    ...options
  }: Pick<Route, 'rawBody' | 'mayBegin' | 'atOnce' | 'findWithCaller'> & { bodyBytesMax?: number | undefined },
): Route {
  const most = bodyBytesMax ?? (endpoint.auth === 'none' ? STRANGER_BODY_BYTES_MAX : BODY_BYTES_MAX);
  const pattern = toPattern(endpoint.path);
  return { endpoint, pattern, bodyBytesMax: most, handle: handle as Route['handle'], ...options };
}

/** Whether an endpoint answers a method. What answers GET also answers HEAD (RFC 9110 section 9.1). */
export function takes({ method }: Endpoint, asked: string | undefined): boolean {
  return asked === method || (asked === 'HEAD' && method === 'GET');
}

/** `/vaults/{vault}/secrets/{+name}:versions` as a regular expression with named groups; see `Endpoint.path`. */
export function toPattern(path: string): RegExp {
  const source = path.replace(/\{([+*]?)(\w+)\}|[.*+?^$()[\]\\|]/g, (token, kind: string | undefined, name: string) => {
    if (name === undefined) return `\\${token}`;
    if (kind === '+') return `(?<${name}>[^:]+)`;
    return kind === '*' ? `(?<${name}>[^/]+)` : `(?<${name}>[^/:]+)`;
  });
  return new RegExp(`^${source}$`);
}

/** @throws AppError `invalid_request` with the path of every field that is wrong, never its value. */
export function parseInput<S extends z.ZodType>(
  schema: S,
  value: unknown,
  where: 'path' | 'query' | 'body',
): z.output<S> {
  const parsed = schema.safeParse(value, { error: plainMessage });
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.slice(0, 20).map((issue) => ({
    path: [where, ...issue.path.map(String)].join('.'),
    message: issue.message,
  }));
  const params = parsed.error.issues.flatMap((issue) =>
    issue.code === 'custom' && issue.params ? [issue.params] : [],
  );
  const tooLarge = params.some((param) => param['tooLarge'] === true);
  const oauthError = params.find((param) => 'oauthError' in param)?.['oauthError'] as OauthError | undefined;
  throw new AppError(tooLarge ? 'too_large' : 'invalid_request', describe(errors), {
    errors,
    ...(oauthError ? { oauthError } : {}),
  });
}

function describe(errors: { path: string; message: string }[]): string {
  const [first] = errors;
  return first ? `${first.path}: ${first.message}` : 'the request is not valid';
}
