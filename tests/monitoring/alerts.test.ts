import { spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dashboards } from '@cardea/grafana/dashboards';
import { alertNames, runbookUrl } from '@cardea/grafana/runbook';
import { findServer } from '@cardea/testkit/servers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse, stringify } from 'yaml';

const root = fileURLToPath(new URL('../../prometheus/', import.meta.url));
const alerts = readAlerts();
const names = alerts.map(({ alert }) => alert);
let promtool: string;
let folder: string;

beforeAll(() => {
  promtool = findServer('promtool', 'prometheus');
  folder = mkdtempSync(join(tmpdir(), 'cardea-rules-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('the configuration', () => {
  test('of Prometheus is valid, with its rules', () => {
    const answer = run(promtool, ['check', 'config', '--lint-fatal', join(root, 'prometheus.yml')]);
    expect(answer.output).toContain(`${alerts.length} rules found`);
    expect(answer.status).toBe(0);
  });

  test('of Alertmanager is valid, and has one receiver to fill in', () => {
    const amtool = findServer('amtool', 'prometheus-alertmanager');
    const answer = run(amtool, ['check-config', join(root, 'alertmanager.yml')]);
    expect(answer.output).toContain(' 1 receivers');
    expect(answer.status).toBe(0);
  });

  test('of Alertmanager names alerts that exist', () => {
    const text = readFileSync(join(root, 'alertmanager.yml'), 'utf8');
    const named = text.match(/\bCardea[A-Z]\w+/g) ?? [];
    expect(named.length).toBeGreaterThan(3);
    expect(named.filter((name) => !names.includes(name))).toEqual([]);
  });
});

describe('each alert', () => {
  test('fires in its case, and is quiet in the case close to it', () => {
    const answer = run(promtool, ['test', 'rules', ...globSync(`${root}tests/*.yml`)]);
    expect([answer.status, answer.output.includes('FAILED')]).toEqual([0, false]);
    expect(listCases()).toEqual(names.flatMap((name) => [`${name} fires`, `${name} is quiet`]).sort());
  });

  test('fails its first case if it never fires, and its second if it always does', () => {
    expect(failedCasesWith('vector(0) > 1')).toEqual(names.map((name) => `${name} fires`).sort());
    expect(failedCasesWith('vector(1)')).toEqual(names.map((name) => `${name} is quiet`).sort());
  });

  test('has a section in the runbook, in the same order, and says how urgent it is', () => {
    expect([...alertNames].sort()).toEqual([...names].sort());
    const page = readFileSync(new URL('../../docs/runbook.md', import.meta.url), 'utf8');
    for (const { alert, labels } of alerts)
      expect(page).toMatch(new RegExp(`### ${alert}\n\n\\*${labels.severity}\\.\\*`));
  });

  test('links to its section, and to a panel that links back to it', () => {
    const grafana = '{{ $externalLabels.grafana }}';
    for (const { alert, annotations } of alerts) {
      expect([alert, annotations.runbook]).toEqual([alert, `${grafana}${runbookUrl(alert)}`]);
      const [, uid, id] = /\/d\/([\w-]+)\?viewPanel=(\d+)$/.exec(annotations.dashboard)!;
      const panel = panelsOf(uid!).find((one) => one.id === Number(id));
      expect([alert, panel?.links?.map(({ url }) => url)]).toEqual([
        alert,
        expect.arrayContaining([runbookUrl(alert)]),
      ]);
    }
  });
});

test('the pages that the runbook names exist', () => {
  const page = readFileSync(new URL('../../docs/runbook.md', import.meta.url), 'utf8');
  const files = globSync('*.md', { cwd: fileURLToPath(new URL('../../docs/', import.meta.url)) });
  const linked = [...page.matchAll(/\]\(([\w-]+\.md)\)/g)].map(([, file]) => file!);
  expect(linked.length).toBeGreaterThan(5);
  expect(linked.filter((file) => !files.includes(file))).toEqual([]);
});

interface Alert {
  alert: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; description: string; dashboard: string; runbook: string };
}

interface RuleFile {
  groups: { name: string; rules: Alert[] }[];
}

function readAlerts(): Alert[] {
  return (parse(readFileSync(join(root, 'rules/alerts.yml'), 'utf8')) as RuleFile).groups.flatMap(({ rules }) => rules);
}

function run(program: string, words: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

function listCases(): string[] {
  const files = globSync(`${root}tests/*.yml`).map((file) => parse(readFileSync(file, 'utf8')) as TestFile);
  return files.flatMap(({ tests }) => tests.map(({ name }) => name)).sort();
}

interface TestFile {
  tests: { name: string }[];
}

/** The cases that fail if every alert has this expression. */
function failedCasesWith(expr: string): string[] {
  const copy = join(folder, expr.replaceAll(/\W/g, ''));
  mkdirSync(copy);
  for (const part of ['rules', 'tests']) cpSync(join(root, part), join(copy, part), { recursive: true });
  const rules = parse(readFileSync(join(root, 'rules/alerts.yml'), 'utf8')) as RuleFile;
  // Without texts: promtool would write them for each alert, each minute of each case, which takes most of the time.
  const others: Record<string, unknown> = { expr, annotations: undefined };
  const changed = stringify(rules, (key: string, value: unknown) => (key in others ? others[key] : value));
  writeFileSync(join(copy, 'rules/alerts.yml'), changed);
  const { output } = run(promtool, ['test', 'rules', ...globSync(`${copy}/tests/*.yml`)]);
  // promtool does not name the cases, but says what it expected: a value if the alert should fire.
  const failed = output.matchAll(/alertname=\\"(\w+)\\".*\n\s+exp: ?(\S+)/g);
  return [...failed].map(([, name, expected]) => `${name} ${expected === 'nil' ? 'is quiet' : 'fires'}`).sort();
}

interface LinkedPanel {
  id?: number;
  links?: { url?: string }[];
}

function panelsOf(uid: string): LinkedPanel[] {
  const found = Object.values(dashboards).find((dashboard) => dashboard.uid === uid);
  return found?.panels ?? [];
}
