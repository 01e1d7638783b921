import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { handouts } from '@cardea/deploy/stack/stack-files';
import { parse } from 'yaml';

const root = fileURLToPath(new URL('../../', import.meta.url));

interface Service {
  image?: string;
  user?: string;
  read_only?: boolean;
  cap_drop?: string[];
  cap_add?: string[];
  security_opt?: string[];
  pids_limit?: number;
  mem_limit?: string;
  restart?: string;
  privileged?: boolean;
  network_mode?: string;
  logging?: { driver: string; options: Record<string, string> };
  healthcheck?: unknown;
  ports?: string[];
  environment?: Record<string, string>;
  volumes?: string[];
  networks?: string[] | Record<string, unknown>;
}

interface ComposeFile {
  services: Record<string, Service>;
  networks: Record<string, { internal?: boolean; ipam: { config: { subnet: string }[] } } | null>;
  volumes: Record<string, unknown>;
}

const read = (profile: string) =>
  parse(readFileSync(join(root, `docker-compose.${profile}.yml`), 'utf8'), { merge: true }) as ComposeFile;

/** The drawing of ARCHITECTURE.md: who meets whom on each network, and which networks lead outside. */
const edges: Record<string, Record<string, string[]>> = {
  mini: {
    front: ['nginx', 'OUTSIDE'],
    'nginx-api': ['api', 'nginx'],
    'api-kek': ['api', 'kek'],
    'api-audit': ['api', 'audit'],
    'kek-audit': ['audit', 'kek'],
    'api-out': ['api', 'OUTSIDE'],
  },
  full: {
    front: ['nginx', 'OUTSIDE'],
    'nginx-api': ['api-1', 'api-2', 'nginx'],
    'api-kek': ['api-1', 'api-2', 'kek'],
    'worker-kek': ['kek', 'worker-1', 'worker-2'],
    'api-audit': ['api-1', 'api-2', 'audit'],
    'worker-audit': ['audit', 'worker-1', 'worker-2'],
    'kek-audit': ['audit', 'kek'],
    'api-postgres': ['api-1', 'api-2', 'postgres'],
    'worker-postgres': ['postgres', 'worker-1', 'worker-2'],
    'audit-postgres': ['audit', 'postgres'],
    'roles-postgres': ['postgres', 'roles'],
    'migrate-postgres': ['migrate', 'postgres'],
    'exporter-postgres': ['postgres', 'postgres-exporter'],
    'api-redis': ['api-1', 'api-2', 'redis'],
    'worker-redis': ['redis', 'worker-1', 'worker-2'],
    'exporter-redis': ['redis', 'redis-exporter'],
    'exporter-nginx': ['nginx', 'nginx-exporter'],
    'worker-out': ['worker-1', 'worker-2', 'OUTSIDE'],
    'metrics-api': ['api-1', 'api-2', 'prometheus'],
    'metrics-worker': ['prometheus', 'worker-1', 'worker-2'],
    'metrics-kek': ['kek', 'prometheus'],
    'metrics-audit': ['audit', 'prometheus'],
    'metrics-postgres': ['postgres-exporter', 'prometheus'],
    'metrics-redis': ['prometheus', 'redis-exporter'],
    'metrics-nginx': ['nginx-exporter', 'prometheus'],
    'metrics-node': ['node-exporter', 'prometheus'],
    'prometheus-alertmanager': ['alertmanager', 'prometheus'],
    'prometheus-grafana': ['grafana', 'prometheus'],
    'grafana-out': ['grafana', 'OUTSIDE'],
    'alertmanager-out': ['alertmanager', 'OUTSIDE'],
  },
};

describe.each(Object.keys(edges))('docker-compose.%s.yml', (profile) => {
  const { services, networks, volumes } = read(profile);
  const each = Object.entries(services);

  test.each(each)('%s runs with no right that it does not need', (name, service) => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      pids_limit: expect.any(Number),
      mem_limit: expect.any(String),
      logging: { driver: 'json-file', options: { 'max-size': expect.any(String), 'max-file': expect.any(String) } },
    });
    expect(service.privileged).toBeUndefined();
    // Only the container without a network gives files away.
    expect(service.cap_add ?? []).toEqual(name === 'certificates' ? ['CHOWN', 'DAC_OVERRIDE'] : []);
    expect(service.network_mode).toBe(name === 'certificates' ? 'none' : undefined);
    expect(service.user?.startsWith('0') ?? false).toBe(name === 'certificates');
  });

  test.each(each)('%s has an image with a tag', (_name, { image }) => {
    expect(image).toMatch(/^\$\{CARDEA_IMAGE:-cardea:dev\}$|^[a-z0-9/_-]+:v?\d+\.\d+(\.\d+)?$/);
  });

  test.each(each)('%s has no password in its environment', (_name, { environment = {} }) => {
    for (const [variable, value] of Object.entries(environment)) {
      expect(variable).not.toMatch(/(PASSWORD|SECRET|TOKEN|PASS)$/);
      expect(value).not.toMatch(/:\/\/[^/]*:[^/]*@/);
    }
  });

  test.each(each)('the files that %s mounts are there', (name, { volumes: mounts = [] }) => {
    for (const mount of mounts) {
      // ${NAME:-default} is the default here.
      const source = mount.replace(/^\$\{[A-Z_]+:-([^}]+)\}/, '$1').split(':')[0]!;
      if (source === '/') expect([name, mount]).toEqual(['node-exporter', '/:/host:ro']);
      else if (source.startsWith('./stack')) expect(mount).toMatch(/^\$\{CARDEA_STACK_DIR/);
      else if (source.startsWith('./')) expect([source, existsSync(join(root, source))]).toEqual([source, true]);
      else expect(Object.keys(volumes)).toContain(source);
    }
  });

  test('each network is one edge of the drawing', () => {
    const found = Object.fromEntries(
      Object.entries(networks).map(([network, settings]) => {
        const members = each.filter(([, service]) => namesOf(service).includes(network)).map(([name]) => name);
        return [network, [...members.sort(), ...(settings?.internal ? [] : ['OUTSIDE'])]];
      }),
    );
    expect(found).toEqual(edges[profile]);
  });

  test('each network has eight addresses of its own', () => {
    const subnets = Object.values(networks).map((network) => network!.ipam.config[0]!.subnet);
    expect(subnets).toEqual(subnets.map((_, index) => `\${CARDEA_SUBNET:-10.213.77}.${index * 8}/29`));
    expect(subnets.length).toBeLessThanOrEqual(32);
  });

  test('ports of the machine lead to nginx only, and others to this machine only', () => {
    const published = each.flatMap(([name, { ports = [] }]) => ports.map((port) => [name, port] as const));
    expect(published.filter(([name]) => name === 'nginx')).toHaveLength(2);
    for (const [name, port] of published) if (name !== 'nginx') expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  test('each container has the volume with its files, and only the container `certificates` has all of them', () => {
    const owners = { postgres: '999:999', redis: '999:999' };
    const planned = handouts(profile as 'mini' | 'full', owners, false).map(({ container }) => container);
    const given = services['certificates']!.volumes!.filter((mount) => mount.includes(':/files/'));
    expect(given.sort()).toEqual(planned.map((name) => `${name}-files:/files/${name}`).sort());
    for (const [name, { volumes: mounts = [] }] of each) {
      if (name === 'certificates') continue;
      const own = mounts.filter((mount) => mount.includes('-files:'));
      expect(own.map((mount) => mount.replace(/-files:.*/, ''))).toEqual(
        planned.filter((it) => it === name.replace(/-\d$/, '')),
      );
      for (const mount of own) expect(mount).toMatch(/:\/run\/cardea:ro$/);
    }
  });
});

test('Prometheus shares a network with each of its targets', () => {
  const { services } = read('full');
  const { scrape_configs: jobs } = parse(readFileSync(join(root, 'prometheus/prometheus.yml'), 'utf8')) as {
    scrape_configs: { static_configs: { targets: string[] }[] }[];
  };
  const targets = jobs.flatMap((job) => job.static_configs.flatMap((it) => it.targets.map((at) => at.split(':')[0]!)));
  expect(targets.length).toBeGreaterThan(10);
  const own = namesOf(services['prometheus']!);
  for (const target of targets.filter((it) => it !== 'localhost')) {
    expect([target, namesOf(services[target]!).some((network) => own.includes(network))]).toEqual([target, true]);
  }
});

function namesOf({ networks = [] }: Service): string[] {
  return Array.isArray(networks) ? networks : Object.keys(networks);
}
