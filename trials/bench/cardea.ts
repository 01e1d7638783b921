import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const start = fileURLToPath(new URL('../../deploy/start.mjs', import.meta.url));

/** A Cardea of profile mini, started by its start command, with limits that a benchmark does not reach. */
export interface Cardea {
  url: string;
  pid: number;
  readySeconds: number;
  password: string;
  stop(): Promise<void>;
}

export async function startCardea(port: number, dataDir: string): Promise<Cardea> {
  const began = performance.now();
  const child = spawn(process.execPath, [start], {
    env: {
      ...process.env,
      CARDEA_DATA_DIR: dataDir,
      CARDEA_PORT: String(port),
      CARDEA_READS_PER_SECOND: '1000000000',
      CARDEA_REQUESTS_PER_MINUTE: '1000000000',
      CARDEA_LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await untilReady(child);
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid!,
    readySeconds: (performance.now() - began) / 1000,
    password: readFileSync(join(dataDir, 'initial-admin-password'), 'utf8').trim(),
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function untilReady(child: ChildProcess): Promise<void> {
  const ready = Promise.withResolvers<void>();
  let printed = '';
  child.stdout!.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
    if (printed.includes('Cardea is ready')) ready.resolve();
  });
  child.once('exit', (code) => ready.reject(new Error(`Cardea ended with ${code}: ${printed}`)));
  await ready.promise;
}
