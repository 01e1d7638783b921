import type { Metrics } from '@cardea/process/metrics';

type Series = ReturnType<Metrics['requestSeconds']['labels']>;

const knownSeries = new WeakMap<Metrics, Map<string, Series>>();

// Finding a series by its labels costs as much as the rest of an observation. Paths are templates, so there are few
// series.
export function requestSeries(metrics: Metrics, method: string, route: string, status: number): Series {
  let known = knownSeries.get(metrics);
  if (!known) knownSeries.set(metrics, (known = new Map()));
  const key = `${method} ${status} ${route}`;
  let series = known.get(key);
  if (!series) known.set(key, (series = metrics.requestSeconds.labels(method, route, String(status))));
  return series;
}
