import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { expect, test } from '@jest/globals';

const start = fileURLToPath(new URL('start.mjs', import.meta.url));

test.each(['20.20.2', '24.11.9'])('on Node %s the start says on one line how to get a newer Node', (version) => {
  const pretend = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`;
  const { status, stderr, stdout } = runStart([`--import=data:text/javascript,${encodeURIComponent(pretend)}`], {});
  expect(status).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^Cardea needs Node 24\.12 or later, .*`npx -y pnpm@12 install`.*\n$/);
});

test('a start that is impossible prints one sentence and exits with 78', () => {
  const { status, stderr } = runStart([], { CARDEA_PROFILE: 'full' });
  expect(status).toBe(78);
  expect(stderr).toMatch(/^this command starts profile mini, but CARDEA_PROFILE is full: [^\n]*\n$/);
});

function runStart(flags: string[], env: Record<string, string>) {
  return spawnSync(process.execPath, [...flags, start], { env: { ...process.env, ...env }, encoding: 'utf8' });
}
