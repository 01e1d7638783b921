import { MINUTE_MS } from '@cardea/contracts/durations';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError, errorCodes } from '@cardea/contracts/errors';
import type { ErrorCode } from '@cardea/contracts/errors';
import { Pool, buildConnector } from 'undici';
import type { Dispatcher } from 'undici';
import { z } from 'zod';
import { serviceNameOf } from '../mtls.ts';
import type { ServiceName, TlsIdentity } from '../mtls.ts';

export interface ClientOptions {
  url: string;
  /** The service that must answer. Another service with a certificate of the same CA is refused. */
  peer: ServiceName;
  identity: TlsIdentity;
  connections?: number;
}

/** Calls another service over mutual TLS 1.3. */
export interface Client {
  /** @throws AppError with the code that the service answered; `unavailable` if it did not answer. */
  call<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
    endpoint: Endpoint<P, Q, B, R>,
    input: {
      params?: Record<string, string | number>;
      query?: Record<string, string | number | undefined>;
      body?: z.input<B>;
      timeoutMs?: number;
      /** Breaks the call off: it is `unavailable` then. */
      signal?: AbortSignal;
    },
  ): Promise<z.output<R>>;
  /** Sends text that is already JSON. Returns parsed JSON that no schema has checked. */
  post(path: string, json: string, timeoutMs: number): Promise<unknown>;
  /** Returns the body as a stream, for answers that do not fit in memory. */
  stream(path: string, query: Record<string, string | number | undefined>): Promise<Dispatcher.ResponseData['body']>;
  text(path: string): Promise<string>;
  close(): Promise<void>;
}

const TIMEOUT_MS = 5_000;
const STREAM_MS = 60 * MINUTE_MS;

interface RequestOptions {
  method: Dispatcher.HttpMethod;
  path: string;
  body?: string;
  timeoutMs?: number;
  /** From the call to the end of the answer. */
  waitMs?: number;
  signal?: AbortSignal;
}

type Body = Dispatcher.ResponseData['body'];

const json = (body: Body) => body.json();
const nothing = (body: Body) => body.dump();

export function createClient({ url, peer, identity, connections = 4 }: ClientOptions): Client {
  const pool = new Pool(url, { connections, connect: connector(peer, identity), keepAliveTimeout: MINUTE_MS });

  async function request(options: RequestOptions): Promise<Dispatcher.ResponseData> {
    const { method, path, body, timeoutMs = TIMEOUT_MS, waitMs = timeoutMs * 2, signal } = options;
    const late = AbortSignal.timeout(waitMs);
    let response: Dispatcher.ResponseData;
    try {
      response = await pool.request({
        method,
        path,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
        // The two timeouts above start with a connection. This one also covers the wait for a connection.
        signal: signal ? AbortSignal.any([late, signal]) : late,
        ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/json' } }),
      });
    } catch (cause) {
      throw new AppError('unavailable', `${peer} does not answer`, { cause });
    }
    if (response.statusCode >= 400) throw await refused(peer, response);
    return response;
  }

  // An answer that breaks off counts as no answer, so the caller may retry.
  async function requestBody<T>(read: (body: Body) => Promise<T>, options: RequestOptions): Promise<T> {
    const { body } = await request(options);
    try {
      return await read(body);
    } catch (cause) {
      throw new AppError('unavailable', `${peer} broke off its answer`, { cause });
    }
  }

  return {
    async call(endpoint, { params = {}, query = {}, body, timeoutMs, signal }) {
      const read = endpoint.response instanceof z.ZodUndefined ? nothing : json;
      const answer = await requestBody(read, {
        method: endpoint.method,
        path: fill(endpoint.path, params) + search(query),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...(signal ? { signal } : {}),
      });
      return endpoint.response.parse(answer);
    },
    post: (path, body, timeoutMs) => requestBody(json, { method: 'POST', path, body, timeoutMs }),
    stream: async (path, query) =>
      (await request({ method: 'GET', path: path + search(query), timeoutMs: MINUTE_MS, waitMs: STREAM_MS })).body,
    text: (path) => requestBody((body) => body.text(), { method: 'GET', path }),
    close: () => pool.destroy(),
  };
}

function connector(peer: ServiceName, identity: TlsIdentity): buildConnector.connector {
  return (options, callback) => {
    const connect = buildConnector({
      ...identity.current(),
      minVersion: 'TLSv1.3',
      timeout: 2_000,
      checkServerIdentity: (_host: string, certificate) =>
        serviceNameOf(certificate) === peer ? undefined : new Error(`the certificate is not that of ${peer}`),
    });
    connect({ ...options, servername: 'localhost' }, callback);
  };
}

// For one segment of a path: ids and numbers, which need no encoding.
function fill(template: string, params: Record<string, string | number>): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    if (params[name] === undefined) throw new TypeError(`${template} needs ${name}`);
    return String(params[name]);
  });
}

function search(query: Record<string, string | number | undefined>): string {
  const given = Object.entries(query).filter((entry) => entry[1] !== undefined);
  return given.length === 0
    ? ''
    : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()}`;
}

const Refusal = z.object({ code: z.enum(errorCodes), detail: z.string() });

// The error keeps the code of the other service. The caller decides what the code means to its own clients.
async function refused(peer: string, response: Dispatcher.ResponseData): Promise<AppError> {
  const parsed = Refusal.safeParse(await response.body.json().catch(() => undefined));
  const code: ErrorCode = parsed.success ? parsed.data.code : 'internal';
  const detail = parsed.success ? parsed.data.detail : `status ${response.statusCode}`;
  const isFull = response.statusCode === 507;
  return new AppError(code, `${peer}: ${detail}`, isFull ? { rule: 'disk-full' } : {});
}
