import { setTimeout as sleep } from 'node:timers/promises';

const WAIT_MS = 60_000;

/** Asks a running Prometheus. */
export interface Prometheus {
  /** The series that an expression gives now. @throws Error if Prometheus refuses it */
  query(expr: string): Promise<Series[]>;
  /** The alerts that are pending or firing, with their rendered annotations. */
  alerts(): Promise<ActiveAlert[]>;
  /** The values of a label of a metric. */
  labelValues(metric: string, label: string): Promise<string[]>;
  /** The rules of the groups, with their expressions and what went wrong in the last evaluation. */
  rules(): Promise<Rule[]>;
}

export interface Series {
  metric: Record<string, string>;
  value: [time: number, value: string];
}

export interface ActiveAlert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

export interface Rule {
  name: string;
  query: string;
  type: 'alerting' | 'recording';
  health: string;
  lastError?: string;
}

export function prometheusAt(url: string): Prometheus {
  async function ask<T>(path: string, search: Record<string, string> = {}): Promise<T> {
    const answer = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(search).toString()}`);
    const { status, data, error } = (await answer.json()) as { status: string; data: T; error?: string };
    if (status !== 'success') throw new Error(`${search['query'] ?? path}: ${error}`);
    return data;
  }

  return {
    query: async (expr) => (await ask<{ result: Series[] }>('query', { query: expr })).result,
    alerts: async () => (await ask<{ alerts: ActiveAlert[] }>('alerts')).alerts,
    labelValues: (metric, label) => ask<string[]>(`label/${label}/values`, { 'match[]': metric }),
    rules: async () => (await ask<{ groups: { rules: Rule[] }[] }>('rules')).groups.flatMap(({ rules }) => rules),
  };
}

/** Repeats `check` until it gives nothing that is missing. @throws Error with what is missing after 60 s */
export async function untilNothingMissing(what: string, check: () => Promise<string[]>): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const missing = await check();
    if (missing.length === 0) return;
    if (performance.now() > deadline) throw new Error(`${what}: still missing\n  ${missing.join('\n  ')}`);
    await sleep(500);
  }
}
