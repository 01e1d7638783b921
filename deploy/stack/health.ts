import { setTimeout as sleep } from 'node:timers/promises';

import { CannotStart } from '../cannot-start.ts';
import type { Say } from '../child.ts';
import type { Compose, Container } from './docker.ts';

const SECOND_MS = 1_000;

/** Containers that do one thing and end. */
const ending = new Set(['roles', 'migrate']);

/** How an operation shows that it goes on, and when it gives up. */
export interface Progress {
  say: Say;
  /** How long containers may take to get healthy. */
  patienceSeconds: number;
}

/**
 * Waits until every container of these services (default all) runs and is healthy, and says which ones it waits for.
 * @throws CannotStart with the last lines of each container that is not, when the patience is at its end
 */
export async function untilHealthy(compose: Compose, progress: Progress, services?: string[]): Promise<void> {
  const { say, patienceSeconds } = progress;
  const giveUpAt = performance.now() + patienceSeconds * SECOND_MS;
  let said = '';
  for (;;) {
    const all = (await compose.containers()).filter(({ service }) => services?.includes(service) ?? true);
    const waiting = all.filter((container) => !isWell(container));
    if (waiting.length === 0) return;
    const line = waiting.map(stateOf).join(', ');
    if (line !== said) say(`waiting for ${line}`);
    said = line;
    if (performance.now() > giveUpAt) throw await notHealthy(compose, waiting, patienceSeconds);
    await sleep(SECOND_MS);
  }
}

/** True if a container is as it should be: it runs and is healthy, or it has ended with 0 if it does only one thing. */
export function isWell({ service, state, health, exitCode }: Container): boolean {
  if (ending.has(service)) return state === 'exited' && exitCode === 0;
  return state === 'running' && (health === '' || health === 'healthy');
}

function stateOf({ service, state, health }: Container): string {
  return `${service} (${state === 'running' ? health : state})`;
}

async function notHealthy(compose: Compose, waiting: Container[], seconds: number): Promise<CannotStart> {
  const logs = await Promise.all(
    waiting.map(({ service }) => compose.run('logs', '--no-color', '--tail', '10', service)),
  );
  return new CannotStart(`${logs.join('')}not healthy after ${seconds} seconds: ${waiting.map(stateOf).join(', ')}`);
}
