// A process of its own: the real supervisor on the real plan, which tells its parent what its services do and kills
// them when told to. It runs until SIGTERM, or until its parent is gone.
import type { ChildProcess } from 'node:child_process';
import { subscribe } from 'node:diagnostics_channel';
import { createWriteStream } from 'node:fs';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { planMini } from '@cardea/deploy/mini';
import { runSupervisor } from '@cardea/deploy/supervisor';
import type { Order, ServiceName, Tidings } from './orders.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const running = new Map<ServiceName, ChildProcess>();
const stop = new AbortController();

process.umask(0o077);
process.on('SIGTERM', () => stop.abort());
process.on('disconnect', () => stop.abort());
process.on('message', (order: Order) => kill(order.kill));
subscribe('child_process', (message) => {
  const child = (message as { process: ChildProcess }).process;
  child.once('spawn', () => watch(child));
});

const log = createWriteStream(process.env['CARDEA_KILL_LOG']!, { flags: 'a' });
const restartDelays = { firstRestartDelayMs: 20, lastRestartDelayMs: 200 };
const signals = { stop: stop.signal, kill: new AbortController().signal };
process.exit(await runSupervisor({ ...planMini(process.env, root), ...restartDelays, ...signals, out: log }));

/** The supervisor starts services and, at first, a process that makes certificates, which is left alone. */
function watch(child: ChildProcess): void {
  const script = child.spawnargs.at(-1) ?? '';
  if (basename(script) !== 'main.ts') return;
  const name = basename(dirname(dirname(script))) as ServiceName;
  running.set(name, child);
  child.on('message', (message: { type?: string }) => {
    if (message.type === 'ready') tell({ name, is: 'ready' });
  });
  child.once('exit', (code) => {
    running.delete(name);
    tell({ name, is: 'ended', code });
  });
}

function kill(name: ServiceName): void {
  const child = running.get(name);
  if (child) child.kill('SIGKILL');
  else tell({ name, is: 'not running' });
}

function tell(tidings: Tidings): void {
  // The parent may be gone, and then nobody needs to know.
  process.send?.(tidings, () => {});
}
