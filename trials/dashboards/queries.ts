import { dashboards } from '@cardea/grafana/dashboards';

/** One query of a panel. */
export interface PanelQuery {
  /** Dashboard, panel and query, such as `cardea-overview 5 A`. */
  name: string;
  expr: string;
}

interface Panel {
  id?: number;
  targets?: { refId?: string; expr?: string }[];
}

interface Variable {
  name?: string;
  definition?: string;
}

/** Every query of every panel, as Grafana sends it while all values of all variables are chosen. */
export function panelQueries(): PanelQuery[] {
  return Object.values(dashboards).flatMap(({ uid, panels }) =>
    ((panels ?? []) as Panel[]).flatMap(({ id, targets = [] }) =>
      targets.map(({ refId, expr = '' }) => ({ name: `${uid} ${id} ${refId}`, expr: withValues(expr) })),
    ),
  );
}

function withValues(expr: string): string {
  return expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$\w+/g, '.*');
}

/** The metric and the label of each variable of each dashboard. */
export function variables(): { metric: string; label: string }[] {
  const all = Object.values(dashboards).flatMap(({ templating }) => (templating?.list ?? []) as Variable[]);
  return all.map(({ name, definition = '' }) => {
    const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(definition) ?? [];
    if (metric === undefined || label === undefined) throw new Error(`the variable ${name} has no label_values`);
    return { metric, label };
  });
}

/**
 * The expression of an alert with its comparisons as numbers, 0 or 1: it gives data while the alert is quiet too, if
 * its metrics exist and the labels of both sides match.
 */
export function withoutComparing(expr: string): string {
  // `absent` gives nothing while its metric is there.
  return expr.replaceAll(/ (>|<|==) (?=[\d.])/g, ' $1 bool ').replaceAll('absent(', 'count(');
}
