import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
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

test('a checkout without an install says so on one line, and how to make it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cardea-bare-'));
  try {
    cpSync(dirname(start), join(folder, 'deploy'), {
      recursive: true,
      filter: (path) => !path.includes('node_modules'),
    });
    const { status, stderr } = runStart([], {}, join(folder, 'deploy/start.mjs'));
    expect(status).toBe(78);
    expect(stderr).toMatch(
      /^Cardea is not installed in this folder, or not whole: run `npx -y pnpm@12 install [^\n]*\n$/,
    );
    expect(stderr).toContain(`in ${folder}/ (`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

function runStart(flags: string[], env: Record<string, string>, script = start) {
  return spawnSync(process.execPath, [...flags, script], { env: { ...process.env, ...env }, encoding: 'utf8' });
}
