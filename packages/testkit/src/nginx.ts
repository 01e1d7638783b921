import { chmodSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFreePort, findServer, ready, startGuarded, stop, temporaryFolder } from './servers.ts';

const product = new URL('../../../nginx/cardea.conf', import.meta.url);

/** A real nginx with the product's own configuration. */
export interface NginxServer {
  url: string;
  /** Its own counts, for an exporter (stub_status). */
  statusUrl: string;
  /** The requests it has logged until now. */
  accessLog(): string;
  /** The errors it has logged until now. */
  errorLog(): string;
  stop(): Promise<void>;
}

/**
 * Starts an nginx in front of an api-service with `nginx/cardea.conf`, of which only the addresses and the path of the
 * log are changed. It cannot write to the folders for bodies, so a body that does not fit into memory fails. The nginx
 * ends with this process, even after SIGKILL.
 * @throws Error that says what to do if there is no nginx and none can be installed
 */
export async function startNginx(apiUrl: string): Promise<NginxServer> {
  const binary = findServer('nginx');
  const folder = temporaryFolder('nginx');
  const port = await findFreePort();
  const statusPort = await findFreePort();
  const accessLog = join(folder, 'access.log');
  const main = join(folder, 'nginx.conf');
  writeFileSync(join(folder, 'cardea.conf'), toTest(readFileSync(product, 'utf8'), { apiUrl, port, accessLog }));
  writeFileSync(main, mainOf(folder, statusPort));

  const guard = startGuarded(folder, 'TERM', [binary, '-e', 'stderr', '-p', folder, '-c', main]);
  const url = `http://127.0.0.1:${port}`;
  await ready(guard, folder, () => fetch(`${url}/healthz`));
  for (const name of readdirSync(folder)) if (name.startsWith('spool')) chmodSync(join(folder, name), 0);
  return {
    url,
    statusUrl: `http://127.0.0.1:${statusPort}/stub_status`,
    accessLog: () => readFileSync(accessLog, 'utf8'),
    errorLog: () => readFileSync(join(folder, 'log'), 'utf8'),
    stop: () => stop(guard),
  };
}

function toTest(
  conf: string,
  { apiUrl, port, accessLog }: { apiUrl: string; port: number; accessLog: string },
): string {
  const replacements = {
    'server 127.0.0.1:8400;': `server ${new URL(apiUrl).host};`,
    'listen 127.0.0.1:8080;': `listen 127.0.0.1:${port};`,
    'access_log /dev/stdout cardea;': `access_log ${accessLog} cardea;`,
  };
  return Object.entries(replacements).reduce((text, [from, to]) => {
    if (text.split(from).length !== 2) throw new Error(`nginx/cardea.conf must contain "${from}" exactly once`);
    return text.replace(from, to);
  }, conf);
}

function mainOf(folder: string, statusPort: number): string {
  const modules = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
daemon off;
worker_processes 1;
error_log stderr crit;
pid ${folder}/nginx.pid;
events { worker_connections 512; }
http {
    ${modules.map((module) => `${module}_temp_path ${folder}/spool-${module};`).join('\n    ')}
    include ${folder}/cardea.conf;
    server {
        listen 127.0.0.1:${statusPort};
        access_log off;
        location = /stub_status { stub_status; }
    }
}
`;
}
