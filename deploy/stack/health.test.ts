import { expect, test } from '@jest/globals';
import type { Compose, Container } from './docker.ts';
import { untilHealthy } from './health.ts';

/** A stack whose kek-service is not healthy for its first looks, and what its check says meanwhile. */
function stackOf(looks: number, whatTheCheckSays: string): Compose {
  let left = looks;
  const kek = { service: 'kek', state: 'running', exitCode: 0 };
  return {
    command: 'docker compose --env-file /srv/stack/.env',
    show: () => Promise.reject(new Error('nothing to show')),
    planned: async () => [{ service: 'kek', hasCheck: true, command: [], environment: {} }],
    containers: async (): Promise<Container[]> => [{ ...kek, health: left-- > 0 ? 'starting' : 'healthy' }],
    run: (...words) =>
      words.join(' ') === 'exec --no-TTY kek node deploy/health.mjs 8411'
        ? Promise.reject(Object.assign(new Error('it ended with 1'), { stderr: whatTheCheckSays }))
        : Promise.reject(new Error(`"${words.join(' ')}" was not expected`)),
  };
}

async function saidWhileWaiting(compose: Compose): Promise<string[]> {
  const said: string[] = [];
  await untilHealthy(compose, { say: (line) => void said.push(line), patienceSeconds: 60 });
  return said;
}

test('who waits for a sealed kek-service is told once how to unseal it', async () => {
  const sealed = '{"status":"not_ready","failed":["keyring"],"degraded":[]}';
  expect(await saidWhileWaiting(stackOf(2, sealed))).toEqual([
    'waiting for kek (starting)',
    'kek-service is sealed. Unseal it within 60 s: docker compose --env-file /srv/stack/.env run --rm operator unseal',
  ]);
});

test('a kek-service that only starts is not called sealed', async () => {
  expect(await saidWhileWaiting(stackOf(1, '{"status":"not_ready","failed":["start"]}'))).toEqual([
    'waiting for kek (starting)',
  ]);
});
