import { setTimeout as sleep } from 'node:timers/promises';

import { CannotStart } from '../cannot-start.ts';
import type { Say } from '../child.ts';
import { errorOutput } from '../settings-check.ts';
import type { Compose, Container, Planned } from './docker.ts';

const SECOND_MS = 1_000;
/** A question to kek-service starts a process in its container. */
const LOOKS_PER_QUESTION = 5;

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
  const planned = (await compose.planned()).filter(({ service }) => services?.includes(service) ?? true);
  const giveUpAt = performance.now() + patienceSeconds * SECOND_MS;
  let said = '';
  let isSaidSealed = false;
  for (let looks = 0; ; looks++) {
    const waiting = findWaiting(planned, await compose.containers());
    if (waiting.length === 0) return;
    const line = waiting.map(stateOf).join(', ');
    if (line !== said) say(`waiting for ${line}`);
    said = line;
    const mayBeSealed = !isSaidSealed && looks % LOOKS_PER_QUESTION === 0 && waiting.some(isKekThatRuns);
    if (mayBeSealed && (await isSealed(compose))) {
      isSaidSealed = true;
      say(`kek-service is sealed. Unseal it within ${patienceSeconds} s: ${compose.command} run --rm operator unseal`);
    }
    if (performance.now() > giveUpAt) throw await notHealthy(compose, waiting, patienceSeconds);
    await sleep(SECOND_MS);
  }
}

const isKekThatRuns = ({ service, state }: Container) => service === 'kek' && state === 'running';

// It gets healthy only when an operator opens its keyring, who may not know that it waits.
async function isSealed(compose: Compose): Promise<boolean> {
  try {
    await compose.run('exec', '--no-TTY', 'kek', 'node', 'deploy/health.mjs', '8411');
    return false;
  } catch (error) {
    // What is not ready, as /readyz says it.
    return errorOutput(error).includes('"keyring"');
  }
}

/** Returns the containers that are not as they should be. Docker does not show a container that it is replacing. */
export function findWaiting(planned: Pick<Planned, 'service' | 'hasCheck'>[], found: Container[]): Container[] {
  return planned.flatMap(({ service, hasCheck }) => {
    const container = found.find((it) => it.service === service) ?? missing(service);
    return isWell(container, hasCheck) ? [] : [container];
  });
}

// A container runs and is healthy, or it has ended with 0 if it does only one thing. Just after its start a container
// with a check has no health yet.
function isWell({ service, state, health, exitCode }: Container, hasCheck: boolean): boolean {
  if (ending.has(service)) return state === 'exited' && exitCode === 0;
  return state === 'running' && (hasCheck ? health === 'healthy' : true);
}

function missing(service: string): Container {
  return { service, state: 'missing', health: '', exitCode: 0 };
}

function stateOf({ service, state, health }: Container): string {
  return `${service} (${state === 'running' ? health || 'starting' : state})`;
}

async function notHealthy(compose: Compose, waiting: Container[], seconds: number): Promise<CannotStart> {
  const logs = await Promise.all(
    waiting.map(({ service }) => compose.run('logs', '--no-color', '--tail', '10', service)),
  );
  return new CannotStart(`${logs.join('')}not healthy after ${seconds} seconds: ${waiting.map(stateOf).join(', ')}`);
}
