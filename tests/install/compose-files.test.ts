import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from '@jest/globals';
import { alertSecrets, handouts, ownFiles } from '@cardea/deploy/stack/stack-files';
import { httpsPortConf, listenConf } from '@cardea/testkit/nginx';
import { parse } from 'yaml';

const root = fileURLToPath(new URL('../../', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'cardea-compose-'));
const owners = { postgres: '999:999', redis: '999:999' };
afterAll(() => rmSync(scratch, { recursive: true }));

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
  profiles?: string[];
  privileged?: boolean;
  network_mode?: string;
  pid?: string;
  logging?: { driver: string; options: Record<string, string> };
  healthcheck?: unknown;
  entrypoint?: string[];
  command?: string[];
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
    'operator-kek': ['kek', 'operator'],
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
    'operator-kek': ['kek', 'operator'],
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
    expect(service.pid).toBeUndefined();
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

  test('api-service believes the address of nginx, and of nobody else on its networks', () => {
    const { 'nginx-api': edge } = services['nginx']!.networks as Record<string, { ipv4_address: string }>;
    const apis = each.filter(([name]) => /^api(-\d)?$/.test(name));
    expect(apis).not.toEqual([]);
    for (const [, { environment = {} }] of apis) {
      expect(environment).toMatchObject({
        CARDEA_TRUSTED_PROXIES: '1',
        CARDEA_TRUSTED_PROXY_CIDRS: edge!.ipv4_address,
      });
    }
  });

  test('each container that gets a file of the operator takes its setting', () => {
    for (const { variable, containers } of ownFiles) {
      const taking = each.filter(([, { environment = {} }]) => variable in environment).map(([name]) => name);
      const expected = each
        .map(([name]) => name)
        .filter((name) => containers.some((it) => it === name.replace(/-\d$/, '')));
      expect([variable, taking]).toEqual([variable, expected]);
      for (const name of taking) expect(services[name]!.environment![variable]).toBe(`\${${variable}:-}`);
    }
  });

  test('each container has the volume with its files, and only the container `certificates` has all of them', () => {
    const planned = handouts(profile as 'mini' | 'full', owners, () => false).map(({ container }) => container);
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

  test('an operator has a container that reaches kek-service and nothing else, and runs only when somebody starts it', () => {
    expect(services['operator']).toMatchObject({
      profiles: ['operator'],
      restart: 'no',
      entrypoint: ['node', 'services/kek-service/src/operator-main.ts'],
      networks: ['operator-kek'],
    });
    expect(each.filter(([, { profiles }]) => profiles !== undefined).map(([name]) => name)).toEqual(['operator']);
    const { files } = handouts(profile as 'mini' | 'full', owners, () => true).find(
      ({ container }) => container === 'operator',
    )!;
    expect(Object.keys(files).sort()).toEqual(['ca.pem', 'operator.key', 'operator.pem']);
  });

  test('each server that is no service of Cardea and has a key is told of a new certificate', () => {
    const plan = handouts(profile as 'mini' | 'full', owners, () => false);
    const withKey = plan.flatMap(({ container, files }) => {
      const key = Object.keys(files).find((name) => name.endsWith('.key'));
      const isOfCardea = services[container]?.image === undefined || services[container].image.startsWith('${');
      return key === undefined || isOfCardea ? [] : [{ container, path: `/run/cardea/${key.slice(0, -4)}` }];
    });
    expect(withKey.map(({ container }) => container)).toContain('nginx');
    const told = each.filter(([, { entrypoint }]) => entrypoint?.[2]?.includes('cksum'));
    expect(told.map(([name]) => name).sort()).toEqual(withKey.map(({ container }) => container).sort());
    for (const { container, path } of withKey) expect(services[container]!.entrypoint!.at(-1)).toBe(path);
  });

  test('a server gets the signal when its certificate or its key is another one, and not before', async () => {
    const files = join(scratch, profile);
    // A file that is being written looks like another one.
    const put = (name: string, content: string) => {
      writeFileSync(`${files}.draft`, content);
      renameSync(`${files}.draft`, `${files}.${name}`);
    };
    for (const name of ['pem', 'key']) put(name, 'old');
    const script = unescaped(services['nginx']!.entrypoint![2]!).replace('sleep 60', 'sleep 0.1');
    const server = ['sh', '-c', 'trap "echo told $$" HUP; echo started $$; while :; do sleep 0.02; done'];
    // A group of its own, which ends with it as the processes of a container do.
    const child = spawn('sh', ['-c', script, 'nginx', 'HUP', files, ...server], { detached: true });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    const says = async (lines: string[]) => {
      while (output.split('\n').length <= lines.length) await once(child.stdout, 'data');
      // Five looks at the files.
      await sleep(500);
      expect(output.trimEnd().split('\n')).toEqual(lines);
    };
    try {
      const [started, told] = [`started ${child.pid}`, `told ${child.pid}`];
      await says([started]);
      put('pem', 'new');
      await says([started, told]);
      put('key', 'new');
      await says([started, told, told]);
    } finally {
      process.kill(-child.pid!, 'SIGKILL');
    }
  });

  test.each([443, 8443])(
    'nginx sends browsers to the port %i that leads to it, and listens on IPv6 if there is any',
    async (port) => {
      const words = services['nginx']!.command!;
      const script = unescaped(words[2]!.replaceAll('${CARDEA_HTTPS_PORT:-443}', `${port}`));
      const writing = script.replace(/ && exec nginx [^&]*$/, '');
      expect(writing).not.toBe(script);
      const write = async (hasIpv6: boolean) => {
        const here = writing.replaceAll('/tmp/', `${scratch}/`).replace('/proc/net/if_inet6', hasIpv6 ? '/' : '/none');
        await promisify(execFile)('sh', ['-c', here]);
        return [8443, 8080, 8480].map((inside) => readFileSync(join(scratch, `listen-${inside}.conf`), 'utf8'));
      };
      expect(await write(true)).toEqual([8443, 8080, 8480].map((inside) => listenConf('[::]', inside, inside)));
      expect(await write(false)).toEqual(['', '', '']);
      expect(readFileSync(join(scratch, 'https-port.conf'), 'utf8')).toBe(httpsPortConf(port));
    },
  );
});

test('PostgreSQL has connections for every pool, and processes for every connection', () => {
  const { services } = read('full');
  const pools = Object.values(services).flatMap(({ environment = {} }) => {
    if (environment['CARDEA_AUDIT_DATABASE_URL'] !== undefined) return []; // It migrates, and ends.
    const urls = Object.keys(environment).filter((name) => /^CARDEA_(READ_)?DATABASE_URL$/.test(name));
    if (urls.length > 0) expect(environment['CARDEA_DATABASE_CONNECTIONS']).toBe('${CARDEA_DATABASE_CONNECTIONS:-}');
    return urls;
  });
  const { command = [], pids_limit: processes = 0 } = services['postgres']!;
  const flag = command.find((word) => word.startsWith('-cmax_connections='));
  const [, connections] = /^-cmax_connections=\$\{CARDEA_POSTGRES_CONNECTIONS:-(\d+)\}$/.exec(flag!)!;
  const page = readFileSync(join(root, 'docs/configuration.md'), 'utf8');
  const [, most] = /\| `CARDEA_POSTGRES_CONNECTIONS` \| 200 \| .* 20 to (\d+): its container may have 300/.exec(page)!;
  const [, each] = /\| `CARDEA_DATABASE_CONNECTIONS` \| (\d+);/.exec(page)!;
  expect(pools).toHaveLength(6);
  // 40 are for the superuser, the exporter, migrations and the processes of PostgreSQL itself.
  expect(Number(connections)).toBeGreaterThanOrEqual(pools.length * Number(each) + 40);
  expect(Number(most)).toBeGreaterThanOrEqual(Number(connections));
  expect(processes).toBeGreaterThanOrEqual(Number(most) + 40);
});

test('the examples of Alertmanager read secrets that its container gets', () => {
  const named = [...readFileSync(join(root, 'prometheus/alertmanager.yml'), 'utf8').matchAll(/_file: (\S+)$/gm)];
  expect(named.map(([, path]) => path)).toEqual(alertSecrets.map((name) => `/run/cardea/${name}`));
  expect(filesOfAlertmanager(() => false)).toEqual([]);
  expect(filesOfAlertmanager((path) => !path.includes('/'))).toEqual([...alertSecrets]);
});

function filesOfAlertmanager(has: (path: string) => boolean): string[] {
  const { owner, files } = handouts('full', owners, has).find(({ container }) => container === 'alertmanager')!;
  expect(read('full').services['alertmanager']!.user).toBe(owner);
  return Object.values(files);
}

test('the links of alerts lead to the port of Grafana', () => {
  const { global } = parse(readFileSync(join(root, 'prometheus/prometheus.yml'), 'utf8')) as {
    global: { external_labels: { grafana: string } };
  };
  const { grafana, prometheus } = read('full').services as { grafana: Service; prometheus: Service };
  const { CARDEA_GRAFANA_PORT: port } = prometheus.environment!;
  expect(global.external_labels.grafana.replace('${CARDEA_GRAFANA_PORT}', port!)).toBe(
    grafana.environment!['GF_SERVER_ROOT_URL'],
  );
});

test('no container of another image has the user of a container, so none reads its files through /proc', () => {
  const imagesOf = new Map<string, Set<string>>();
  for (const { image, user } of Object.values(read('full').services)) {
    // Our own image and that of the certificates say in the Dockerfile which user they have.
    const uid = user?.replace(/^\$\{[A-Z_]+:-([^}]+)\}/, '$1').split(':')[0] ?? 'of the image';
    imagesOf.set(uid, (imagesOf.get(uid) ?? new Set()).add(image!.replace(/:[^:]*$/, '')));
  }
  const shared = [...imagesOf.values()].filter((images) => images.size > 1).map((images) => [...images].toSorted());
  // These images own the folders of their data as the same user. None of them sees the processes of the machine.
  expect(shared.toSorted(([a], [b]) => a!.localeCompare(b!))).toEqual([
    ['postgres', 'redis'],
    ['prom/alertmanager', 'prom/prometheus'],
  ]);
});

test('each exporter can read what it is given', () => {
  const { services } = read('full');
  const given = handouts('full', { postgres: '999:999', redis: '999:999' }, () => false);
  const exporters = given.filter(({ container }) => container.endsWith('-exporter'));
  expect(exporters).toHaveLength(2);
  for (const { container, owner } of exporters) expect(services[container]!.user).toBe(owner);
});

test('PostgreSQL lets each role in from the network of its container only, and to its databases', () => {
  const { networks } = read('full');
  const rules = readFileSync(join(root, 'deploy/stack/pg_hba.conf'), 'utf8').split('\n');
  const found = rules.flatMap((rule) => {
    const [, databases, users, address] = /^hostssl +(\S+) +(\S+) +(\S+ 0\.0\.0\.248) /.exec(rule) ?? [];
    return users === undefined ? [] : [[databases, users, address]];
  });
  const connects = readFileSync(join(root, 'deploy/roles.sql'), 'utf8').matchAll(
    /^\\connect :"(?:(audit)_)?database"$/gm,
  );
  const ofRoles = ['postgres', ...[...connects].map(([, audit]) => (audit ? 'cardea_audit' : 'cardea'))];
  const from = (network: string) => {
    const { subnet } = networks[network]!.ipam.config[0]!;
    return `0.0.0.${/\.(\d+)\/29$/.exec(subnet)![1]} 0.0.0.248`;
  };
  expect(found).toEqual([
    [ofRoles.join(','), 'postgres', from('roles-postgres')],
    ['cardea,cardea_audit', 'cardea_migrate', from('migrate-postgres')],
    ['cardea', 'cardea_api', from('api-postgres')],
    ['cardea', 'cardea_worker', from('worker-postgres')],
    ['cardea_audit', 'cardea_audit_append,cardea_audit_read', from('audit-postgres')],
    ['postgres', 'cardea_exporter', from('exporter-postgres')],
  ]);
  // No other rule lets anybody in from another machine.
  const others = rules.filter((rule) => rule.startsWith('host') && !rule.includes(' 0.0.0.248 '));
  expect(others).toEqual([expect.stringMatching(/^hostssl postgres +postgres +127\.0\.0\.1\/32 /)]);
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

/** The words of a compose file, in which a dollar is written twice. */
function unescaped(text: string): string {
  return text.replaceAll('$$', () => '$');
}

function namesOf({ networks = [] }: Service): string[] {
  return Array.isArray(networks) ? networks : Object.keys(networks);
}
