import type { IncomingMessage, RequestListener } from 'node:http';
import type { Registry } from 'prom-client';

/** Named checks of what a service depends on. A check throws if its dependency does not answer. */
export type ReadinessChecks = Record<string, () => Promise<void>>;

/** Serves health and metrics, for a port that must not be public. */
export function opsListener(registry: Registry, checks: ReadinessChecks): RequestListener {
  return (req, res) => {
    respond(isSupported(req) ? (req.url ?? '') : '').then(
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

// HEAD is for monitors that only check whether the service answers.
function isSupported({ method, url }: IncomingMessage): boolean {
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
