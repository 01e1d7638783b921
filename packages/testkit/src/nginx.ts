import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { childrenOf, findFreePort, findServer, pidIn, ready, startGuarded, stop, temporaryFolder } from './servers.ts';

const product = fileURLToPath(new URL('../../../nginx/', import.meta.url));

/** A real nginx with the product's own configuration. */
export interface NginxServer {
  url: string;
  /** Where its configuration is. After a change, `reload`. */
  folder: string;
  /** Its own counts, for an exporter (stub_status). */
  statusUrl: string;
  /** The requests it has logged until now. */
  accessLog(): string;
  /** The errors it has logged until now. */
  errorLog(): string;
  /**
   * Lets it read its configuration again. Resolves when only new processes take requests. The old ones end when they
   * have answered theirs.
   */
  reload(): Promise<void>;
  /** The ids of its processes. */
  pids(): number[];
  stop(): Promise<void>;
}

/** A real nginx as it runs in a container, with TLS. */
export interface TlsNginxServer extends NginxServer {
  /** Where it answers without TLS. */
  plainUrl: string;
}

/**
 * Starts an nginx in front of api-services with `nginx/plain.conf`, of which only the addresses and the path of the log
 * are changed. It cannot write to the folders for bodies, so a body that does not fit into memory fails. The nginx ends
 * with this process, even after SIGKILL.
 * @throws Error that says what to do if there is no nginx and none can be installed
 */
export async function startNginx(...apiUrls: string[]): Promise<NginxServer> {
  const [port, statusPort] = [await findFreePort(), await findFreePort()];
  const statusUrl = `http://127.0.0.1:${statusPort}/stub_status`;
  const server = await start(statusUrl, (folder) => {
    change(join(folder, 'cardea/plain.conf'), {
      'server 127.0.0.1:8400 max_fails=1 fail_timeout=1s;': upstreams(apiUrls),
      'listen 127.0.0.1:8080;': `listen 127.0.0.1:${port};`,
    });
    return mainOf(folder, statusPort);
  });
  for (const name of readdirSync(server.folder)) {
    if (name.startsWith('spool')) chmodSync(join(server.folder, name), 0);
  }
  return { ...server, url: `http://127.0.0.1:${port}` };
}

/**
 * Starts an nginx with `nginx/nginx.conf`, the configuration of the container, of which only the addresses and the paths
 * are changed. `consoleFolder` has the files of the console.
 * @throws Error that says what to do if there is no nginx and none can be installed
 */
export async function startTlsNginx(
  apiUrls: string[],
  files: { certificate: string; key: string; consoleFolder?: string },
): Promise<TlsNginxServer> {
  const ports = { tls: await findFreePort(), plain: await findFreePort(), status: await findFreePort() };
  const statusUrl = `http://127.0.0.1:${ports.status}/stub_status`;
  const server = await start(statusUrl, (folder) => {
    writeFileSync(join(folder, 'api-services.conf'), upstreams(apiUrls));
    writeFileSync(join(folder, 'nginx.pem'), readFileSync(files.certificate));
    writeFileSync(join(folder, 'nginx.key'), readFileSync(files.key));
    writeFileSync(join(folder, 'https-port.conf'), httpsPortConf(ports.tls));
    const inContainer = { 8443: ports.tls, 8080: ports.plain, 8480: ports.status };
    for (const [inside, port] of Object.entries(inContainer)) {
      const conf = hasIpv6 ? listenConf('[::1]', Number(inside), port) : '';
      writeFileSync(join(folder, `listen-${inside}.conf`), conf);
    }
    if (files.consoleFolder) cpSync(files.consoleFolder, join(folder, 'console'), { recursive: true });
    change(join(folder, 'cardea/server.conf'), { 'root /srv/cardea;': `root ${folder};` });
    mkdirSync(join(folder, 'acme/.well-known/acme-challenge'), { recursive: true });
    const main = readFileSync(join(product, 'nginx.conf'), 'utf8').replaceAll('/tmp/', `${folder}/`);
    return replace(main, {
      'listen 8443 ssl http2;': `listen 127.0.0.1:${ports.tls} ssl http2;`,
      'listen 8080;': `listen 127.0.0.1:${ports.plain};`,
      'root /srv/acme;': `root ${folder}/acme;`,
      'listen 8480;': `listen 127.0.0.1:${ports.status};`,
      'ssl_certificate /run/cardea/nginx.pem;': `ssl_certificate ${folder}/nginx.pem;`,
      'ssl_certificate_key /run/cardea/nginx.key;': `ssl_certificate_key ${folder}/nginx.key;`,
    });
  });
  return { ...server, url: `https://localhost:${ports.tls}`, plainUrl: `http://127.0.0.1:${ports.plain}` };
}

/** The file `https-port.conf`, which the compose files write: browsers are sent to this port. */
export function httpsPortConf(port: number): string {
  return `map "${port}" $https_port { "443" ""; default ":${port}"; }\n`;
}

/** The file `listen-<port>.conf`, which the compose files write: the port of the container, here at this address and port. */
export function listenConf(address: string, inside: number, port: number): string {
  return `listen ${address}:${port}${inside === 8443 ? ' ssl http2' : ''};\n`;
}

/** Whether this machine has IPv6. */
export const hasIpv6 = existsSync('/proc/net/if_inet6');

/** Starts an nginx with the main configuration that `configure` returns. It is ready before an api-service is asked. */
async function start(statusUrl: string, configure: (folder: string) => string) {
  const binary = findServer('nginx');
  const folder = temporaryFolder('nginx');
  mkdirSync(join(folder, 'cardea'));
  for (const file of readdirSync(product)) cpSync(join(product, file), join(folder, 'cardea', file));
  const accessLog = join(folder, 'access.log');
  change(join(folder, 'cardea/every-server.conf'), {
    'access_log /dev/stdout cardea;': `access_log ${accessLog} cardea;`,
  });
  const main = join(folder, 'nginx.conf');
  writeFileSync(main, configure(folder));

  const command = [binary, '-e', 'stderr', '-p', folder, '-c', main, '-g', 'daemon off;'];
  const guard = startGuarded(folder, 'TERM', command);
  await ready(guard, folder, () => fetch(statusUrl));
  const pid = () => pidIn(join(folder, 'nginx.pid'));
  return {
    folder,
    statusUrl,
    accessLog: () => readFileSync(accessLog, 'utf8'),
    errorLog: () => readFileSync(join(folder, 'log'), 'utf8'),
    async reload() {
      const old = childrenOf(pid());
      process.kill(pid(), 'SIGHUP');
      // For a while both take requests, and the old ones by the old rules.
      for (;;) {
        const taking = childrenOf(pid()).filter(takesRequests);
        if (taking.length > 0 && !taking.some((child) => old.includes(child))) return;
        await sleep(5);
      }
    },
    pids: () => [pid(), ...childrenOf(pid())],
    stop: () => stop(guard),
  };
}

// A process of nginx says that it takes no more requests before it closes its listening sockets, and takes none in between.
function takesRequests(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'args=', '-p', String(pid)], { encoding: 'utf8' });
  return stdout.includes('worker process') && !stdout.includes('is shutting down');
}

function upstreams(apiUrls: string[]): string {
  return apiUrls.map((url) => `server ${new URL(url).host} max_fails=1 fail_timeout=1s;`).join('\n    ');
}

function change(file: string, replacements: Record<string, string>): void {
  writeFileSync(file, replace(readFileSync(file, 'utf8'), replacements));
}

function replace(conf: string, replacements: Record<string, string>): string {
  return Object.entries(replacements).reduce((text, [from, to]) => {
    if (text.split(from).length !== 2) throw new Error(`the configuration of nginx must have "${from}" exactly once`);
    return text.replace(from, to);
  }, conf);
}

function mainOf(folder: string, statusPort: number): string {
  const modules = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
worker_processes 1;
error_log stderr crit;
pid ${folder}/nginx.pid;
events { worker_connections 1024; }
http {
    ${modules.map((module) => `${module}_temp_path ${folder}/spool-${module};`).join('\n    ')}
    include ${folder}/cardea/plain.conf;
    server {
        listen 127.0.0.1:${statusPort};
        access_log off;
        location = /stub_status { stub_status; }
    }
}
`;
}
