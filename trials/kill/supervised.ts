// A separate process that runs the real supervisor with the real plan. It reports to its parent what the services do,
// and kills a service when the parent orders it. It runs until SIGTERM, or until its parent has ended.
import type { ChildProcess } from 'node:child_process';
import { subscribe } from 'node:diagnostics_channel';
import { createWriteStream } from 'node:fs';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { planMini } from '@cardea/deploy/mini';
import { runSupervisor } from '@cardea/deploy/supervisor';
import type { KillOrder, ServiceName, ServiceEvent } from './messages.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const running = new Map<ServiceName, ChildProcess>();
const stop = new AbortController();

process.umask(0o077);
process.on('SIGTERM', () => stop.abort());
process.on('disconnect', () => stop.abort());
process.on('message', (order: KillOrder) => kill(order.kill));
subscribe('child_process', (message) => {
  const child = (message as { process: ChildProcess }).process;
  child.once('spawn', () => watch(child));
});

const log = createWriteStream(process.env['CARDEA_TEST_KILL_LOG']!, { flags: 'a' });
const restartDelays = { firstRestartDelayMs: 20, lastRestartDelayMs: 200 };
const signals = { stop: stop.signal, kill: new AbortController().signal };
process.exit(await runSupervisor({ ...planMini(process.env, root), ...restartDelays, ...signals, out: log }));

/** Watches a service. Ignores other processes of the supervisor, such as the one that makes certificates. */
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

function tell(event: ServiceEvent): void {
  // The parent may have ended, and then nobody needs the message.
  process.send?.(event, () => {});
}
