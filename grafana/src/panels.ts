import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  DashboardLinkBuilder,
  MappingType,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from '@grafana/grafana-foundation-sdk/dashboard';
import type { Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TimeSeriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';
import { datasource } from './empty-dashboard.ts';
import { alertNames, runbookUrl } from './runbook.ts';

export interface PanelSpec {
  /** Alerts link to a panel by its id, so it never changes. Unique within a dashboard. */
  id: number;
  title: string;
  /** What the panel shows, and when to worry. */
  description: string;
  /** Each query with the legend of its series. */
  queries: [expr: string, legend: string][];
  /** An id of Grafana's units. */
  unit: string;
  /** From this value on the panel is yellow or red. If `isLow`, below it. */
  thresholds?: { warning?: number; critical?: number; isLow?: boolean };
  /** The alerts that link to this panel. It links to their sections in the runbook. */
  alerts?: string[];
  /** A number and not a graph. */
  isStat?: boolean;
  /** Texts for values of a number. */
  texts?: Record<string, { text: string; color: string }>;
  /** In 24ths of the width. */
  width?: number;
  max?: number;
}

/** Builds a panel: a graph, or a number if it `isStat`. */
export function panel(spec: PanelSpec): Builder<Panel> {
  const { isStat = false, width = isStat ? 6 : 12 } = spec;
  const built = isStat ? stat(spec) : graph(spec);
  built
    .id(spec.id)
    .title(spec.title)
    .description(spec.description)
    .datasource(datasource)
    .unit(spec.unit)
    .span(width)
    .height(isStat ? 4 : 8)
    .thresholds(thresholdsOf(spec))
    .links((spec.alerts ?? []).map(linkToRunbook));
  for (const [index, [expr, legend]] of spec.queries.entries()) {
    built.withTarget(
      new DataqueryBuilder()
        .datasource(datasource)
        .refId(String.fromCodePoint(65 + index))
        .expr(expr)
        .legendFormat(legend),
    );
  }
  return built;
}

function stat({ texts }: PanelSpec): StatBuilder {
  const built = new StatBuilder().reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull'])).noValue('–');
  if (texts) built.mappings([{ type: MappingType.ValueToText, options: texts }]);
  return built;
}

function graph({ thresholds, max }: PanelSpec): TimeSeriesBuilder {
  const built = new TimeSeriesBuilder()
    .fillOpacity(8)
    .min(0)
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .showLegend(true),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi));
  if (max !== undefined) built.max(max);
  if (thresholds) built.thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed));
  return built;
}

function thresholdsOf({ thresholds = {} }: PanelSpec): ThresholdsConfigBuilder {
  const { warning, critical, isLow = false } = thresholds;
  const steps = isLow
    ? [
        [null, critical === undefined ? 'yellow' : 'red'],
        ...(critical === undefined ? [] : [[critical, 'yellow']]),
        [warning ?? critical ?? 0, 'green'],
      ]
    : [
        [null, 'green'],
        ...(warning === undefined ? [] : [[warning, 'yellow']]),
        ...(critical === undefined ? [] : [[critical, 'red']]),
      ];
  return new ThresholdsConfigBuilder()
    .mode(ThresholdsMode.Absolute)
    .steps((steps as [number | null, string][]).map(([value, color]) => ({ value, color })));
}

/** @throws Error if the runbook has no section for the alert */
function linkToRunbook(alert: string): DashboardLinkBuilder {
  if (!alertNames.includes(alert)) throw new Error(`docs/runbook.md has no section ${alert}`);
  return new DashboardLinkBuilder(`What to do: ${alert}`).url(runbookUrl(alert));
}
