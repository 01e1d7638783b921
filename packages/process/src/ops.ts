import type { IncomingMessage, RequestListener } from 'node:http';
import type { Registry } from 'prom-client';
import { version } from './version.ts';

/** Named checks of what a service depends on. A check throws if its dependency does not answer. */
export type ReadinessChecks = Record<string, () => Promise<void>>;

/** The metrics and checks of a started service. */
export interface OpsView {
  registry: Registry;
  checks: ReadinessChecks;
  /** Checks of what the service can do without: a failed one is shown in `degraded`, and the service stays ready. */
  optional?: ReadinessChecks;
  /** What `readyz` shows of the disk. */
  disk?(): object;
}

/**
 * Serves health and metrics, for a port that must not be public. As long as `view` returns undefined, the service is
 * alive but not ready.
 */
export function opsListener(view: () => OpsView | undefined): RequestListener {
  return (req, res) => {
    respond(view(), isSupported(req) ? (req.url ?? '') : '').then(
      ({ status, type, body }) =>
        res.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body),
      (error: unknown) => res.destroy(error as Error),
    );
  };
}

async function respond(view: OpsView | undefined, url: string): Promise<Answer> {
  if (url === '/healthz') return json(200, { status: 'ok', version });
  if (url !== '/readyz' && url !== '/metrics') return json(404, { status: 'not_found' });
  if (!view) return json(503, { status: 'not_ready', failed: ['start'] });
  if (url === '/readyz') return readiness(view);
  return { status: 200, type: view.registry.contentType, body: await view.registry.metrics() };
}

interface Answer {
  status: number;
  type: string;
  body: string;
}

// HEAD is for monitors that only check whether the service answers.
function isSupported({ method, url }: IncomingMessage): boolean {
  return method === 'GET' || (method === 'HEAD' && url === '/healthz');
}

async function readiness({ checks, optional = {}, disk }: OpsView): Promise<Answer> {
  const [failed, degraded] = await Promise.all([failedOf(checks), failedOf(optional)]);
  const isReady = failed.length === 0;
  return json(isReady ? 200 : 503, { status: isReady ? 'ready' : 'not_ready', failed, degraded, disk: disk?.() });
}

async function failedOf(checks: ReadinessChecks): Promise<string[]> {
  const names = Object.keys(checks);
  const results = await Promise.allSettled(names.map((name) => checks[name]!()));
  return names.filter((_name, index) => results[index]!.status === 'rejected');
}

function json(status: number, body: unknown): Answer {
  return { status, type: 'application/json', body: JSON.stringify(body) };
}
