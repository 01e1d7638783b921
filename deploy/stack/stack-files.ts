import type { CertificateOptions } from '../certificates-due.ts';

export type Profile = 'mini' | 'full';

/** `uid:gid`, as a compose file writes it. */
export type Owner = string;

/** The owners of files, by image. The images of PostgreSQL and Redis choose their own users. */
export interface Owners {
  postgres: Owner;
  redis: Owner;
}

/** The files of one container. Its name is that of its volume, which is `/run/cardea` in the container. */
export interface Handout {
  container: string;
  owner: Owner;
  /** The path in the stack's folder, by the name that the container sees. */
  files: Record<string, string>;
}

// The users of the images: our own one, those that nginx and Grafana publish, and one of its own for each exporter.
const cardea = '10001:10001';
const nginx = '101:101';
const nobody = '65534:65534';
const postgresExporter = '10003:10003';
const redisExporter = '10004:10004';
const grafana = '472:0';

const OWN_CERTIFICATE = 'proxy/certificate.pem';

/** Every password of a profile, by its file in the folder `secrets`. */
export const passwords: Record<Profile, readonly string[]> = {
  mini: [],
  full: [
    'postgres-superuser',
    'database-migrate',
    'database-api',
    'database-worker',
    'database-audit-append',
    'database-audit-read',
    'database-exporter',
    'redis-cardea',
    'redis-exporter',
    'grafana-admin',
  ],
};

/** Files that an operator may put into the stack's folder. A setting tells the containers that the file is there. */
export const ownFiles = [
  { name: 'webhooks.yml', variable: 'CARDEA_WEBHOOKS_FILE', containers: ['api', 'worker'] },
  { name: 'seal-passphrase', variable: 'CARDEA_SEAL_PASSPHRASE_FILE', containers: ['kek'] },
] as const;

/** Secrets with which Alertmanager tells operators of alerts. An operator may put each into the stack's folder. */
export const alertSecrets = ['alert-token', 'alert-password'] as const;

/**
 * Returns which files of the stack's folder each container gets. No container gets a file that it does not need, and
 * none gets the key of the CA.
 *
 * @param has whether the operator put this file into the folder: a certificate for nginx, or one of `ownFiles` and
 *   `alertSecrets`.
 */
export function handouts(profile: Profile, owners: Owners, has: (path: string) => boolean): Handout[] {
  const alerting = alertSecrets.map((name) => ({ name, containers: ['alertmanager'] }));
  const own = [...ownFiles, ...alerting].filter(({ name }) => has(name));
  return ofCardea(profile, owners, has(OWN_CERTIFICATE)).map((handout) => {
    const given = own.filter(({ containers }) => (containers as readonly string[]).includes(handout.container));
    return { ...handout, files: { ...handout.files, ...Object.fromEntries(given.map(({ name }) => [name, name])) } };
  });
}

function ofCardea(profile: Profile, owners: Owners, hasOwnCertificate: boolean): Handout[] {
  const front = hasOwnCertificate ? 'proxy/certificate' : 'tls/nginx';
  const mini: Handout[] = [
    // It shows by a metric when the certificates of the other servers expire.
    { container: 'api', owner: cardea, files: { ...identity('api-service'), 'nginx.pem': `${front}.pem` } },
    { container: 'kek', owner: cardea, files: identity('kek-service') },
    { container: 'operator', owner: cardea, files: identity('operator') },
    { container: 'audit', owner: cardea, files: identity('audit-service') },
    {
      container: 'nginx',
      owner: nginx,
      files: { 'nginx.pem': `${front}.pem`, 'nginx.key': `${front}.key` },
    },
  ];
  if (profile === 'mini') return mini;

  const ca = { 'ca.pem': 'tls/ca.pem' };
  const add = (container: string, files: Record<string, string>) => {
    const found = mini.find((it) => it.container === container)!;
    return { ...found, files: { ...found.files, ...files } };
  };
  return [
    add('api', {
      'database-password': 'secrets/database-api',
      'redis-password': 'secrets/redis-cardea',
      'postgres.pem': 'tls/postgres.pem',
      'redis.pem': 'tls/redis.pem',
    }),
    add('kek', {}),
    add('operator', {}),
    add('audit', {
      'database-password': 'secrets/database-audit-append',
      'read-database-password': 'secrets/database-audit-read',
    }),
    add('nginx', {}),
    {
      container: 'worker',
      owner: cardea,
      files: {
        ...identity('worker'),
        'database-password': 'secrets/database-worker',
        'redis-password': 'secrets/redis-cardea',
      },
    },
    { container: 'migrate', owner: cardea, files: { ...ca, 'database-password': 'secrets/database-migrate' } },
    {
      container: 'postgres',
      owner: owners.postgres,
      files: {
        'postgres.pem': 'tls/postgres.pem',
        'postgres.key': 'tls/postgres.key',
        'superuser-password': 'secrets/postgres-superuser',
      },
    },
    {
      container: 'roles',
      owner: owners.postgres,
      files: {
        ...ca,
        'superuser-password': 'secrets/postgres-superuser',
        migrate: 'secrets/database-migrate',
        api: 'secrets/database-api',
        worker: 'secrets/database-worker',
        'audit-append': 'secrets/database-audit-append',
        'audit-read': 'secrets/database-audit-read',
        exporter: 'secrets/database-exporter',
      },
    },
    {
      container: 'redis',
      owner: owners.redis,
      files: {
        'redis.pem': 'tls/redis.pem',
        'redis.key': 'tls/redis.key',
        ...ca,
        'users.acl': 'redis-users.acl',
      },
    },
    {
      container: 'postgres-exporter',
      owner: postgresExporter,
      files: { ...ca, 'database-password': 'secrets/database-exporter' },
    },
    { container: 'redis-exporter', owner: redisExporter, files: { ...ca, 'passwords.json': 'redis-exporter.json' } },
    { container: 'alertmanager', owner: nobody, files: {} },
    { container: 'grafana', owner: grafana, files: { 'admin-password': 'secrets/grafana-admin' } },
  ];
}

/** The certificates of a profile. `hosts` are the names and addresses under which people reach nginx. */
export function stackCertificates(profile: Profile, hosts: string[]): CertificateOptions {
  return {
    extraDnsNames: { 'kek-service': ['kek'], 'audit-service': ['audit'] },
    servers: {
      nginx: [...new Set([...hosts, 'localhost', '127.0.0.1'])],
      ...(profile === 'full' ? { postgres: ['postgres'], redis: ['redis'] } : {}),
    },
  };
}

/** The user and group ids of an owner. @throws Error if it is not `uid:gid` */
export function parseOwner(owner: Owner): { uid: number; gid: number } {
  const parts = /^(\d+):(\d+)$/.exec(owner);
  if (!parts) throw new Error(`"${owner}" is not a user: write uid:gid`);
  return { uid: Number(parts[1]), gid: Number(parts[2]) };
}

function identity(name: string): Record<string, string> {
  return { 'ca.pem': 'tls/ca.pem', [`${name}.pem`]: `tls/${name}.pem`, [`${name}.key`]: `tls/${name}.key` };
}
