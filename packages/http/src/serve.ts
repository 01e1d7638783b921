import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { StartError } from './config.ts';
import { mtlsServerOptions, renewServerCertificates } from './mtls.ts';
import type { TlsIdentity } from './mtls.ts';

/** A server that listens. */
export interface Listening {
  url: string;
  port: number;
  /** Takes no new connection, lets requests under way end, and cuts what is left after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>;
}

export interface ListenOptions {
  host: string;
  port: number;
  /** The variable that sets the port, for the message when it is taken. */
  variable: string;
  /** With it the server speaks mutual TLS, otherwise plain HTTP. */
  identity?: TlsIdentity;
}

// Node's own limit for the header is 16 KiB; ours is on purpose the same, stated here.
const httpOptions = {
  maxHeaderSize: 16 * 1024,
  requestTimeout: 30_000,
  headersTimeout: 10_000,
  keepAliveTimeout: 65_000,
  // Node would refuse it by itself, without a record.
  requireHostHeader: false,
};

/** @throws StartError if the port is taken or may not be used. */
export async function listen(
  listener: RequestListener,
  options: ListenOptions,
): Promise<Listening & { server: Server }> {
  const { identity, host, port } = options;
  const server = identity
    ? createTlsServer({ ...httpOptions, handshakeTimeout: 10_000, ...mtlsServerOptions(identity) }, listener)
    : createServer(httpOptions, listener);
  // An expectation nobody knows may be ignored (RFC 9110 section 10.1.1); Node would refuse it by itself, without a record.
  server.on('checkExpectation', listener);
  const unfinished = unfinishedAnswers(server);
  if (identity) renewServerCertificates(server as ReturnType<typeof createTlsServer>, identity);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, options)));
    server.listen({ host, port }, resolve);
  });
  const { port: actual } = server.address() as AddressInfo;
  const name = host.includes(':') ? `[${host}]` : host;
  return {
    server,
    port: actual,
    url: `${identity ? 'https' : 'http'}://${name}:${actual}`,
    drain: (deadlineMs) => drain(server, unfinished, deadlineMs),
  };
}

function explain(error: NodeJS.ErrnoException, { host, port, variable }: ListenOptions): Error {
  if (error.code === 'EADDRINUSE') {
    return new StartError(`Port ${port} of ${host} is in use: stop what uses it or set ${variable} to another.`);
  }
  if (error.code === 'EACCES' || error.code === 'EADDRNOTAVAIL') {
    return new StartError(`Port ${port} of ${host} cannot be listened on (${error.code}): set ${variable} to another.`);
  }
  return error;
}

function unfinishedAnswers(server: Server): ReadonlySet<ServerResponse> {
  const unfinished = new Set<ServerResponse>();
  server.prependListener('request', (_req, res) => {
    unfinished.add(res);
    res.once('close', () => unfinished.delete(res));
  });
  return unfinished;
}

async function drain(server: Server, unfinished: ReadonlySet<ServerResponse>, deadlineMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // Answers that are still to come tell a kept-alive client to go, as its next request would meet a closed connection.
  for (const res of unfinished) if (!res.headersSent) res.setHeader('Connection', 'close');
  server.keepAliveTimeout = 1;
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const deadline = setTimeout(() => server.closeAllConnections(), deadlineMs);
  server.closeIdleConnections();
  await closed;
  clearInterval(idle);
  clearTimeout(deadline);
}

/** Named checks of what a service depends on; each throws if it is not there. */
export type ReadinessChecks = Record<string, () => Promise<void>>;

/** Health and metrics, on a port that is not served to the outside. */
export function opsListener(registry: Registry, checks: ReadinessChecks): RequestListener {
  return (req, res) => {
    respond(isAsked(req) ? (req.url ?? '') : '').then(
      ({ status, type, body }) =>
        res.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body),
      (error: unknown) => res.destroy(error as Error),
    );
  };

  async function respond(url: string): Promise<{ status: number; type: string; body: string }> {
    if (url === '/healthz') return json(200, { status: 'ok' });
    if (url === '/readyz') return readiness(checks);
    if (url === '/metrics') return { status: 200, type: registry.contentType, body: await registry.metrics() };
    return json(404, { status: 'not_found' });
  }
}

// HEAD is for those who only look whether somebody answers.
function isAsked({ method, url }: IncomingMessage): boolean {
  return method === 'GET' || (method === 'HEAD' && url === '/healthz');
}

async function readiness(checks: ReadinessChecks): Promise<{ status: number; type: string; body: string }> {
  const names = Object.keys(checks);
  const results = await Promise.allSettled(names.map((name) => checks[name]!()));
  const failed = names.filter((_name, index) => results[index]!.status === 'rejected');
  return json(failed.length === 0 ? 200 : 503, { status: failed.length === 0 ? 'ready' : 'not_ready', failed });
}

function json(status: number, body: unknown): { status: number; type: string; body: string } {
  return { status, type: 'application/json', body: JSON.stringify(body) };
}
