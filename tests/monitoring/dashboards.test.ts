import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { dashboards } from '@cardea/grafana/dashboards';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';

const root = fileURLToPath(new URL('../../grafana/', import.meta.url));

interface Panel {
  id: number;
  type: string;
  title?: string;
  description?: string;
  datasource?: { uid: string };
  fieldConfig?: { defaults: { unit?: string } };
  targets?: { expr: string; legendFormat: string }[];
}

interface Provisioned {
  datasources: { uid: string }[];
}

const all = Object.entries(dashboards).map(([file, dashboard]) => ({ file, dashboard }));
const panels = all.flatMap(({ file, dashboard }) =>
  ((dashboard.panels ?? []) as Panel[]).map((panel) => ({ file, panel })),
);

test('every dashboard is in a file, and every file is of a dashboard', () => {
  expect(globSync('*.json', { cwd: `${root}dashboards` }).sort()).toEqual(Object.keys(dashboards).sort());
  for (const { file, dashboard } of all) {
    expect(JSON.parse(readFileSync(`${root}dashboards/${file}`, 'utf8'))).toEqual(
      JSON.parse(JSON.stringify(dashboard)),
    );
  }
});

test('every panel has an id of its own, a unit, a description, and the datasource that is provisioned', () => {
  const file = readFileSync(`${root}provisioning/datasources/prometheus.yml`, 'utf8');
  const [datasource] = (parse(file) as Provisioned).datasources;
  for (const { dashboard } of all) {
    const ids = ((dashboard.panels ?? []) as Panel[]).map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  }
  const shown = panels.filter(({ panel }) => panel.targets !== undefined);
  expect(shown.length).toBeGreaterThan(50);
  for (const { panel } of shown) {
    expect([panel.title, panel.datasource?.uid]).toEqual([panel.title, datasource!.uid]);
    expect([panel.title, panel.fieldConfig?.defaults.unit]).toEqual([panel.title, expect.stringMatching(/^\w+$/)]);
    expect([panel.title, panel.description]).toEqual([panel.title, expect.stringMatching(/^[A-Z0-9].*\.$/s)]);
  }
});

test('variables are labels with few values, and every variable that a query uses is one of its dashboard', () => {
  const allowed = ['job', 'instance', 'job_name'];
  for (const { dashboard } of all) {
    const variables = (dashboard.templating?.list ?? []).map(({ name }) => name);
    expect(variables.filter((name) => !allowed.includes(name))).toEqual([]);
    const queries = ((dashboard.panels ?? []) as Panel[]).flatMap(({ targets = [] }) =>
      targets.map(({ expr }) => expr),
    );
    const used = queries.flatMap((expr) => [...expr.matchAll(/\$(\w+)/g)].map(([, name]) => name!));
    expect(used.filter((name) => name !== '__rate_interval' && !variables.includes(name))).toEqual([]);
    for (const name of variables)
      expect([dashboard.title, used]).toEqual([dashboard.title, expect.arrayContaining([name])]);
  }
});

test('every metric of Cardea in a query is on docs/metrics.md or a recording rule', () => {
  const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  const rules = readFileSync(new URL('../../prometheus/rules/recording.yml', import.meta.url), 'utf8');
  const alerts = readFileSync(new URL('../../prometheus/rules/alerts.yml', import.meta.url), 'utf8');
  const queries = panels.flatMap(({ panel: { targets = [] } }) => targets.map(({ expr }) => expr)).join('\n');
  const used = new Set([queries, rules, alerts].join('\n').match(/(?<![\w:])cardea_\w+(?![\w:])/g));
  expect(used.size).toBeGreaterThan(30);
  const known = (name: string) => page.includes(`\`${name.replace(/_(bucket|count|sum)$/, '')}\``);
  expect([...used].filter((name) => !known(name))).toEqual([]);
  const recorded = new Set(queries.match(/\b\w+:cardea_\w+:\w+|\bcardea:\w+:\w+|\b\w+:cardea\w*:\w+/g));
  expect([...recorded].filter((name) => !rules.includes(`record: ${name}\n`))).toEqual([]);
});
