// Starts profile full with the real exporters and the real Prometheus, puts load on it, and runs every query of every
// panel and rule: each gives data, or is one that is empty while all is well. Then lets things go wrong, and looks for
// the alerts:
//   pnpm test:dashboards
// It takes about two minutes. If something is missing, it exits with 1 and says what.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFullStack } from './full-stack.ts';
import type { FullStack } from './full-stack.ts';
import { startLoad } from './load.ts';
import type { Load } from './load.ts';
import { startMonitoring } from './monitoring.ts';
import { prometheusAt, untilNothingMissing } from './prometheus.ts';
import type { Prometheus } from './prometheus.ts';
import { notProvoked, provocations } from './provocations.ts';
import { panelQueries, variables, withoutComparing } from './queries.ts';

const LOAD_MS = 15_000;

const folder = mkdtempSync(join(tmpdir(), 'cardea-dashboards-'));
say('starting PostgreSQL, Redis, nginx, two api-services, a worker, kek-service, audit-service');
const stack = await startFullStack(folder);
try {
  const monitoring = await startMonitoring(stack);
  const prometheus = prometheusAt(monitoring.prometheusUrl);
  const load = await startLoad(stack.url, stack.password);
  await runTrial({ stack, load, prometheus });
  await load.stop();
  say(`answers by status: ${[...load.statuses].map(([status, count]) => `${status}: ${count}`).join(', ')}`);
  await monitoring.stop();
  await stack.stop();
  rmSync(folder, { recursive: true });
  process.exit(0);
} catch (error) {
  say(`\n${error instanceof Error ? error.stack : String(error)}\nits log is in ${folder}`);
  await stack.stop().catch((error: unknown) => say(String(error)));
  // Ends the load and the servers too.
  process.exit(1);
}

interface Trial {
  stack: FullStack;
  load: Load;
  prometheus: Prometheus;
}

async function runTrial(trial: Trial): Promise<void> {
  const { load, prometheus } = trial;
  // The first calls to kek-service begin its series, and the later ones increase them.
  for (const kind of ['dek', 'kek', 'dek']) {
    await load.admin.post('/rotations', { kind }).expect(202);
    await sleep(LOAD_MS / 3);
  }
  const emptyWhenWell = new Set(provocations.flatMap(({ queries = [] }) => queries));
  await checkQueries(prometheus, emptyWhenWell);
  await checkRules(prometheus);
  await checkQuiet(prometheus);
  await checkProvocations(trial);
}

async function checkQueries(prometheus: Prometheus, emptyWhenWell: ReadonlySet<string>): Promise<void> {
  const queries = panelQueries();
  await untilNothingMissing('queries of panels', async () => {
    const wrong: string[] = [];
    for (const { name, expr } of queries) {
      const found = (await prometheus.query(expr)).some(({ value }) => value[1] !== 'NaN');
      if (found === emptyWhenWell.has(name)) wrong.push(`${name} ${found ? 'has' : 'has no'} data: ${expr}`);
    }
    for (const { metric, label } of variables()) {
      if ((await prometheus.labelValues(metric, label)).length === 0) wrong.push(`${metric} has no ${label}`);
    }
    return wrong;
  });
  say(
    `${queries.length - emptyWhenWell.size} queries of panels have data, ${emptyWhenWell.size} are empty as they should`,
  );
}

async function checkRules(prometheus: Prometheus): Promise<void> {
  const rules = await prometheus.rules();
  const recording = rules.filter(({ type }) => type === 'recording');
  const alerting = rules.filter(({ type }) => type === 'alerting');
  await untilNothingMissing('rules', async () => {
    const broken = (await prometheus.rules()).filter(({ health }) => health !== 'ok');
    const wrong = broken.map(({ name, lastError }) => `${name}: ${lastError ?? 'not evaluated'}`);
    for (const { name } of recording) {
      if ((await prometheus.query(name)).length === 0) wrong.push(`${name} has no data`);
    }
    for (const { name, query } of alerting) {
      const expr = withoutComparing(query);
      if ((await prometheus.query(expr)).length === 0) wrong.push(`${name} has no data: ${expr}`);
    }
    return wrong;
  });
  say(`${recording.length} recording rules have data, and so have the metrics of ${alerting.length} alerts`);
}

async function checkQuiet(prometheus: Prometheus): Promise<void> {
  const alerts = await prometheus.alerts();
  const named = alerts.map(({ labels, annotations }) => `${labels['alertname']}: ${annotations['summary']}`);
  // The disk of the machine that runs the trial is not the trial's.
  const others = named.filter((alert) => !alert.startsWith('CardeaDisk'));
  if (others.length > 0) throw new Error(`alerts although all is well:\n  ${others.join('\n  ')}`);
  say('no alert is pending while all is well');
}

async function checkProvocations({ stack, load, prometheus }: Trial): Promise<void> {
  const seen = new Set<string>();
  for (const { what, alerts, queries = [], act, mend } of provocations) {
    const isMissing = async () => {
      const active = await prometheus.alerts();
      active.forEach(({ labels, annotations }) => refuseUnrendered(labels['alertname']!, annotations));
      for (const { labels } of active) seen.add(labels['alertname']!);
      const missing = alerts.filter((alert) => !seen.has(alert));
      for (const { name, expr } of panelQueries().filter((query) => queries.includes(query.name))) {
        if ((await prometheus.query(expr)).length === 0) missing.push(`${name}: ${expr}`);
      }
      return missing;
    };
    // Alerts that end with what provokes them are seen while it lasts.
    const acting = act(stack, load);
    await Promise.all([acting, untilNothingMissing(what, isMissing)]);
    await mend?.(stack, load);
    say(`${what}: ${[...alerts, ...queries].join(', ')}`);
  }
  const names = (await prometheus.rules()).filter(({ type }) => type === 'alerting').map(({ name }) => name);
  const unknown = names.filter((name) => !seen.has(name) && !(name in notProvoked));
  if (unknown.length > 0) throw new Error(`nothing provokes ${unknown.join(', ')}`);
  const unseen = names.filter((name) => !seen.has(name)).map((name) => `${name} (${notProvoked[name]})`);
  say(`${seen.size} of ${names.length} alerts were seen. The tests of the rules show the others: ${unseen.join(', ')}`);
}

/** @throws Error if a template of an alert has gone wrong */
function refuseUnrendered(alert: string, annotations: Record<string, string>): void {
  for (const [name, text] of Object.entries(annotations)) {
    const isLink = name === 'dashboard' || name === 'runbook';
    const isRight = isLink
      ? text.startsWith('http://127.0.0.1:3000/d/cardea-')
      : !/\{\{|<error|%!|<no value>/.test(text);
    if (!isRight) throw new Error(`${alert}: ${name} is ${text}`);
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
