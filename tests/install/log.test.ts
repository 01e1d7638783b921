import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Person } from '@cardea/testkit/person';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { freePorts, killAll, start } from './installation.ts';
import type { Installation } from './installation.ts';

let folder: string;
let installation: Installation;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-log-'));
});
afterEach(async () => {
  await killAll();
  await rm(folder, { recursive: true, force: true });
});

async function signIn(url: string): Promise<Person> {
  const password = readFileSync(join(folder, 'initial-admin-password'), 'utf8').trim();
  return Person.signIn(url, 'admin', password);
}

async function expectToServe(url: string): Promise<void> {
  const admin = await signIn(url);
  for (let i = 0; i < 50; i += 1) await admin.get('/auth/me').expect(200);
  const entries = await admin.auditEntries({ action: 'auth.me' });
  expect(entries.length).toBeGreaterThanOrEqual(50);
}

test('Cardea serves on when the reader of its log goes away, and ends only when it is asked to', async () => {
  installation = start({ dataDir: folder, port: await freePorts() });
  const url = await installation.ready();
  installation.process.stdout!.destroy();
  await expectToServe(url);
  expect(installation.process.exitCode).toBeNull();
  // The other stream says so once.
  const said = () => installation.output().match(/The log is not written any more \(.*EPIPE.*\)/g);
  await expectEventually(async () => expect(said()).toHaveLength(1));
  expect(await installation.stop()).toBe(0);
});

test('Cardea starts and serves while the disk of its log is full', async () => {
  const full = openSync('/dev/full', 'w');
  const port = await freePorts();
  installation = start({ dataDir: folder, port, stdout: full });
  closeSync(full);
  const url = `http://127.0.0.1:${port}`;
  await expectEventually(async () => expect((await fetch(`${url}/healthz`)).status).toBe(200));
  await expectToServe(url);
  expect(await installation.stop()).toBe(0);
});
