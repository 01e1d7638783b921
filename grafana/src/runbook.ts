import { readFileSync } from 'node:fs';
import type { DashboardBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import { PanelBuilder as TextBuilder, TextMode } from '@grafana/grafana-foundation-sdk/text';
import { emptyDashboard } from './empty-dashboard.ts';

const page = readFileSync(new URL('../../docs/runbook.md', import.meta.url), 'utf8');
// A section begins with the name of its alert and ends before the next heading.
const sections = [...page.matchAll(/^### (\w+)\n\n(.*?)(?=\n##|$(?![^]))/gms)].map(([, alert = '', text = '']) => ({
  alert,
  text: text.trim(),
}));

/** The alerts that docs/runbook.md explains, in its order. */
export const alertNames: string[] = sections.map(({ alert }) => alert);

/** The address of an alert's section within Grafana. */
export function runbookUrl(alert: string): string {
  return `/d/cardea-runbook?viewPanel=${alertNames.indexOf(alert) + 1}`;
}

/** docs/runbook.md as a dashboard, so that an operator reads it where the alert is. */
export function runbook(): DashboardBuilder {
  const dashboard = emptyDashboard({
    uid: 'cardea-runbook',
    title: 'Runbook',
    description: 'What each alert means and what to do about it: the sections of docs/runbook.md.',
  });
  for (const [index, { alert, text }] of sections.entries()) {
    dashboard.withPanel(
      new TextBuilder()
        .id(index + 1)
        .title(alert)
        .mode(TextMode.Markdown)
        .content(withoutLinks(text))
        .span(12)
        .height(9),
    );
  }
  return dashboard;
}

// The pages that it links to are files of the repository, which Grafana does not serve.
function withoutLinks(text: string): string {
  return text.replaceAll(/\[([^\]]+)\]\([^)]+\)/g, 'docs/$1');
}
