import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { useSystem } from '@cardea/testkit/use-system';
import type { TestSystem } from '@cardea/testkit/system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { at } from '../secrets/ground.ts';

const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
const [full, { alice }] = useSystem('full');
const [mini] = useSystem('mini');

beforeAll(async () => {
  full.keepsSchedule = true;
  await full.restart();
  await full.as('alice');
});

describe('docs/metrics.md', () => {
  test('has every metric that a service of either profile shows, with its type, and no other', async () => {
    const shown = [
      ...(await namesAndTypes(full.opsUrl, 'api-service')),
      ...(await namesAndTypes(full.workerOpsUrl, 'worker')),
      ...(await namesAndTypes(full.kekOpsUrl, 'kek-service')),
      ...(await namesAndTypes(full.auditOpsUrl, 'audit-service')),
      ...(await Promise.all(urlsOf(mini).map(([url, service]) => namesAndTypes(url, service)))).flat(),
    ];
    expect(shown.length).toBeGreaterThan(50);
    expect(documented()).toEqual([...new Set(shown)].sort());
  });

  test('has the version, and the room on the disk of each database', async () => {
    const { version } = (await (await fetch(`${mini.url}/healthz`)).json()) as { version: string };
    for (const url of [mini.opsUrl, mini.auditOpsUrl]) {
      const shown = await read(url);
      expect(shown).toContain(`cardea_build_info{version="${version}",`);
      for (const name of ['cardea_disk_free_bytes', 'cardea_database_bytes']) {
        expect(Number(new RegExp(`^${name}\\{.*\\} (\\d+)$`, 'm').exec(shown)?.[1])).toBeGreaterThan(4_096);
      }
      expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({ disk: { freeBytes: expect.any(Number) } });
    }
  });

  test('has the labels of every metric', async () => {
    await alice.createVault('counted');
    await alice.putSecret('counted', 's', 'v');
    await alice.get(at('counted', 'none')).expect(404);
    const wrong: string[] = [];
    for (const [url] of [...urlsOf(full), [full.workerOpsUrl] as const]) {
      for (const { name, labels } of await samplesOf(url)) {
        const known = labelsOnPage(name);
        if (labels.some((label) => !known.includes(label))) wrong.push(`${name}: ${labels.join(', ')}`);
      }
    }
    expect([...new Set(wrong)]).toEqual([]);
  });
});

test('names follow Prometheus: counters end with _total, times are in seconds, and each has a help text', async () => {
  const text = await read(full.opsUrl);
  const types = [...text.matchAll(/^# TYPE (cardea_\w+) (\w+)$/gm)].map(([, name, type]) => ({ name: name!, type }));
  expect(types.length).toBeGreaterThan(20);
  for (const { name, type } of types) {
    expect(`${name} is a counter: ${name.endsWith('_total')}`).toBe(`${name} is a counter: ${type === 'counter'}`);
    expect(name).not.toMatch(/_(ms|millis|minutes|hours|days|percent)(_|$)/);
    expect(text).toMatch(new RegExp(`^# HELP ${name} \\S.*\\.$`, 'm'));
  }
});

test('a counter of refusals begins at 0, so that the first refusal is an increase', async () => {
  for (const [url] of urlsOf(mini)) {
    expect(await read(url)).toMatch(/^cardea_suspicious_total\{rule="token_forged",service="[\w-]+"\} 0$/m);
    expect(await read(url)).toMatch(/^cardea_refusals_total\{code="internal",service="[\w-]+"\} 0$/m);
  }
});

test('api-service shows when the certificates of nginx, PostgreSQL and Redis expire, if it has them', async () => {
  const expiries = async () => {
    const found = (await read(mini.opsUrl)).matchAll(/_expiry_timestamp_seconds\{certificate="(\w+)",.*\} (\d+)$/gm);
    return Object.fromEntries([...found].map(([, certificate, value]) => [certificate!, Number(value)]));
  };
  const before = await expiries();
  expect(Object.keys(before)).toEqual(['service', 'ca']);

  const folder = join(mini.dataDir, 'tls');
  copyFileSync(join(folder, 'ca.pem'), join(folder, 'nginx.pem'));
  copyFileSync(join(folder, 'api-service.pem'), join(folder, 'redis.pem'));
  writeFileSync(join(folder, 'postgres.pem'), 'damaged');
  expect(await expiries()).toEqual({ ...before, nginx: before['ca'], redis: before['service'], postgres: 0 });
});

function urlsOf(system: TestSystem): [url: string, service: string][] {
  return [
    [system.opsUrl, 'api-service'],
    [system.kekOpsUrl, 'kek-service'],
    [system.auditOpsUrl, 'audit-service'],
  ];
}

async function read(opsUrl: string): Promise<string> {
  return await (await fetch(`${opsUrl}/metrics`)).text();
}

/** `name type service` of each metric. Those of Node's own are one row of the page, so they have no name here. */
async function namesAndTypes(opsUrl: string, service: string): Promise<string[]> {
  const types = [...(await read(opsUrl)).matchAll(/^# TYPE (\w+) (\w+)$/gm)];
  return types.flatMap(([, name = '', type = '']) =>
    name.startsWith('cardea_') ? [`${name} ${type} ${service}`] : [],
  );
}

interface Row {
  name: string;
  type: string;
  labels: string[];
  services: string[];
}

function rows(): Row[] {
  return [...page.matchAll(/^\| `(cardea_\w+)` \| (\w+) \| (.*?) \| (.*?) \| .+ \|$/gm)].map(
    ([, name = '', type = '', labels = '', services = '']) => ({
      name,
      type,
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label!),
      services: services === 'all' ? ['api-service', 'worker', 'kek-service', 'audit-service'] : services.split(', '),
    }),
  );
}

function documented(): string[] {
  return rows()
    .flatMap(({ name, type, services }) => services.map((service) => `${name} ${type} ${service}`))
    .sort();
}

function labelsOnPage(sample: string): string[] {
  const row = rows().find(({ name }) => name === sample || sample.replace(/_(bucket|sum|count)$/, '') === name);
  return [...(row?.labels ?? []), 'service', 'le'];
}

async function samplesOf(opsUrl: string): Promise<{ name: string; labels: string[] }[]> {
  return [...(await read(opsUrl)).matchAll(/^(cardea_\w+)\{(.*?)\} /gm)].map(([, name = '', labels = '']) => ({
    name,
    labels: [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label!),
  }));
}
