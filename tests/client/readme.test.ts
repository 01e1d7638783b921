import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as library from '@cardea/client';
import { receiveKekRotation, followKekRotation } from '@cardea/contracts/webhooks/kek-rotation';
import { PASSWORD } from '@cardea/testkit/system';
import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';
import { codeOf } from '../identity/identity.ts';

const page = readFileSync(new URL('../../packages/client/README.md', import.meta.url), 'utf8');
const examples = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code!);

// The webhook of a KEK rotation is signed by a sender, not called by a client.
const ofSenders: readonly unknown[] = [receiveKekRotation, followKekRotation];

inEachProfile((system) => {
  test('every example of the README of the client runs, and every endpoint has one', async () => {
    const called = new Set<string>();
    const fetch: typeof globalThis.fetch = async (input, init) => {
      called.add(`${init?.method ?? 'GET'} ${new URL(input as string).pathname}`);
      return await globalThis.fetch(input, init);
    };
    const createClient = (options: library.ClientOptions) => library.createClient({ ...options, fetch });
    const code = examples
      .join('\n')
      .replaceAll(/^import .*$/gm, '')
      .replace('http://127.0.0.1:8400', system.url);
    const environment = {
      ADMIN_PASSWORD: readFileSync(join(system.dataDir, 'initial-admin-password'), 'utf8').trim(),
      ALICE_PASSWORD: PASSWORD,
      CARLA_PASSWORD: PASSWORD,
    };
    const names = {
      ...library,
      createClient,
      process: { env: environment },
      console: { log() {} },
      code: (uri: string) => codeOf(system, uri),
    };
    const example = new AsyncFunction(
      ...Object.keys(names),
      `"use strict";\n${code}\nreturn { value, valid, allowed };`,
    );

    expect(await example(...Object.values(names))).toEqual({ value: 'hunter2', valid: true, allowed: true });

    const without = system.endpoints
      .filter((endpoint) => endpoint.method !== 'HEAD' && !ofSenders.includes(endpoint))
      .filter(({ method, path }) => ![...called].some((line) => matches(line, `${method} ${path}`)))
      .map(({ method, path }) => `${method} ${path}`);
    expect(without).toEqual([]);
  });
});

const AsyncFunction = (async () => {}).constructor as new (
  ...words: string[]
) => (...values: unknown[]) => Promise<unknown>;

/** Whether a request is one of an endpoint. */
function matches(request: string, endpoint: string): boolean {
  const pattern = endpoint.replace(/\{([+*]?)\w+\}/g, (_token, kind) => (kind === '+' ? '[^:]+' : '[^/]+'));
  return new RegExp(`^${pattern.replaceAll('.', '\\.')}$`).test(request);
}
