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

/** What a handler gets: only input that the contract has parsed. */
export type Input<P, Q, B, C extends boolean> = {
  caller: Caller;
  params: P;
  query: Q;
  body: B;
  /** The headers of the request. Few endpoints need them. */
  headers: IncomingHttpHeaders;
} & (C extends true ? { conditions: Conditions } : unknown);

/** What a handler answers. The default status is the first one of the endpoint. */
export type Reply<R> = { status?: number; headers?: Record<string, string> } & (
  | { body: R }
  | { text: string; contentType: string }
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
  handle(input: Input<never, never, never, true>): Promise<Reply<unknown> | Audited<Reply<unknown>> | NotModified>;
}

type Handler<P extends z.ZodType, Q extends z.ZodType, B, Result, C extends boolean = false> = (
  input: Input<z.output<P>, z.output<Q>, B, C>,
) => Promise<Result>;

const BODY_BYTES_MAX = 128 * 1024;

/**
 * Binds a public endpoint to its handler. The handler answers with an `Audited` reply, which exists only once its
 * record is on disk, so nothing is released before. Or it answers with `NotModified`, which releases nothing.
 * The handler of a `conditional` endpoint gets the parsed conditions of the request. A body has at most 128 KiB unless
 * `bodyBytesMax` says otherwise.
 */
export function route<
  P extends z.ZodType,
  Q extends z.ZodType,
  B extends z.ZodType,
  R extends z.ZodType,
  C extends boolean,
>(
  endpoint: Endpoint<P, Q, B, R, C>,
  handle: Handler<P, Q, z.output<B>, Audited<Reply<z.input<R>>> | NotModified, C>,
  options: { bodyBytesMax?: number } = {},
): Route {
  return bind(endpoint, handle, { bodyBytesMax: BODY_BYTES_MAX, rawBody: false, ...options });
}

/** Binds an endpoint whose answers need no record: calls between services, health, documents. */
export function plainRoute<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
  endpoint: Endpoint<P, Q, B, R>,
  handle: Handler<P, Q, z.output<B>, Reply<z.input<R>>>,
  options: { bodyBytesMax?: number } = {},
): Route {
  return bind(endpoint, handle, { bodyBytesMax: BODY_BYTES_MAX, rawBody: false, ...options });
}

/** For a handler that must see the body's exact bytes. Its answer needs no record, or comes with one. */
export function rawRoute<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
  endpoint: Endpoint<P, Q, B, R>,
  handle: Handler<P, Q, Uint8Array, Reply<z.input<R>> | Audited<Reply<z.input<R>>>>,
  options: { bodyBytesMax: number },
): Route {
  return bind(endpoint, handle, { ...options, rawBody: true });
}

function bind(endpoint: Endpoint, handle: unknown, options: { bodyBytesMax: number; rawBody: boolean }): Route {
  return { endpoint, pattern: toPattern(endpoint.path), handle: handle as Route['handle'], ...options };
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
