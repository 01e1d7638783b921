import {
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  QueryVariableBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';

const TAG = 'cardea';

/** The datasource of provisioning/datasources. */
export const datasource = { type: 'prometheus', uid: 'cardea-prometheus' };

interface Heading {
  uid: string;
  title: string;
  description: string;
}

/** A dashboard without panels, with links to the other dashboards of Cardea. */
export function emptyDashboard({ uid, title, description }: Heading): DashboardBuilder {
  return new DashboardBuilder(`Cardea: ${title}`)
    .uid(uid)
    .description(description)
    .tags([TAG])
    .readonly()
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: 'now-3h', to: 'now' })
    .refresh('30s')
    .timezone('browser')
    .link(
      new DashboardLinkBuilder('Cardea').type(DashboardLinkType.Dashboards).tags([TAG]).asDropdown(true).keepTime(true),
    );
}

/** A variable of a dashboard: the values of a label of a metric. `all` is chosen at first. */
export function labelVariable(of: { name: string; label: string; metric: string }): QueryVariableBuilder {
  const { name, label, metric } = of;
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(datasource)
    .query({ qryType: 1, query: `label_values(${metric}, ${name})`, refId: name })
    .definition(`label_values(${metric}, ${name})`)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.*')
    .current({ text: 'All', value: '$__all' });
}
