import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findServer } from '@cardea/testkit/servers';
import { afterAll, expect, test } from '@jest/globals';

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const folder = mkdtempSync(join(tmpdir(), 'cardea-unit-'));
const unit = join(folder, 'cardea.service');
const text = readFileSync(join(root, 'deploy/cardea.service'), 'utf8');
writeFileSync(unit, text.replaceAll('/opt/cardea', root));

afterAll(() => rmSync(folder, { recursive: true }));

function analyze(...words: string[]): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync(findServer('systemd-analyze', 'systemd'), words, { encoding: 'utf8' });
  return { status, said: stdout + stderr };
}

test('systemd understands the unit, and finds what it starts in the checkout', () => {
  expect(analyze('verify', unit)).toEqual({ status: 0, said: '' });
});

test('the unit has fewer rights than systemd calls acceptable', () => {
  // From 0 to 10 in tenths; a service without any limits has 9.6. The command fails above the threshold.
  expect(analyze('security', '--offline=yes', '--threshold=20', unit)).toMatchObject({ status: 0 });
});

test('what the unit starts is what the docs call the start without a network', () => {
  const [, started] = /^ExecStart=(.*)$/m.exec(text)!;
  const docs = readFileSync(join(root, 'docs/install.md'), 'utf8');
  expect(docs).toContain(`    ${started!.replaceAll('/opt/cardea/', '')}\n`);
});
