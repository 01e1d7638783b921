import { VERSIONS_MAX } from '@cardea/contracts/vaults';
import type { Answer, HttpRequest } from '../kill/front-door.ts';
import { Violation } from '../kill/ledger.ts';
import { bodyOf } from './client.ts';
import type { Client } from './client.ts';
import { KnownSecret } from './known-secrets.ts';
import type { KnownVault } from './known-secrets.ts';

/** A secret with its value, as the front door answers it. */
interface ReadSecret {
  version: number;
  value: string;
}

/** Reads a secret once and compares the answer with what is known. Returns whether there was an answer. */
export async function readSecret(client: Client, secret: KnownSecret, version?: number): Promise<boolean> {
  const asked = secret.askFor(version);
  const query = version === undefined ? '' : `?version=${version}`;
  const answer = await client.ask('secret.read', { method: 'GET', path: secret.path + query });
  if (answer?.status === 200) secret.checkRead(asked, bodyOf<ReadSecret>(answer));
  else if (answer) secret.checkMissing(asked);
  return answer !== undefined;
}

/** Writes a new value, which must differ from the newest one. Returns whether the write itself was answered. */
export function writeSecret(client: Client, secret: KnownSecret, value: string): Promise<boolean> {
  return addVersion(client, secret, value, {
    action: 'secret.write',
    request: { method: 'PUT', path: secret.path, body: { value } },
  });
}

/** Writes the value of an old version again. It must differ from the newest value. */
export function rollBackSecret(client: Client, secret: KnownSecret, version: number): Promise<boolean> {
  return addVersion(client, secret, secret.values[version - 1]!, {
    action: 'secret.rollback',
    request: { method: 'POST', path: `${secret.path}:rollback`, body: { version } },
  });
}

async function addVersion(
  client: Client,
  secret: KnownSecret,
  value: string,
  { action, request }: { action: string; request: HttpRequest },
): Promise<boolean> {
  secret.beginChange(value);
  const answer = await client.ask(action, request);
  const next = secret.values.length + 1;
  const newest = answer ? requireDone(secret, answer) : await readNewest(client, secret, value);
  if (newest === next) secret.values.push(value);
  if (newest !== (answer ? next : secret.values.length)) {
    throw new Violation(`${secret.path}: the newest version is ${newest}, and ${next} was written`);
  }
  secret.endChange();
  return answer !== undefined;
}

function requireDone(secret: KnownSecret, answer: Answer): number {
  if (answer.status === 404) throw new Violation(`${secret.path} is written as if it did not exist`);
  return bodyOf<ReadSecret>(answer).version;
}

// A write without an answer may have been done, with this value.
async function readNewest(client: Client, secret: KnownSecret, written: string): Promise<number> {
  const asked = secret.askFor();
  const answer = await client.insist('secret.read', { method: 'GET', path: secret.path });
  if (answer.status === 404 && asked.floor === 0) return 0;
  if (answer.status === 404) throw new Violation(`${secret.path} does not exist after a write`);
  const read = bodyOf<ReadSecret>(answer);
  if (read.version > asked.floor && read.value !== written) {
    throw new Violation(`${secret.path}: version ${read.version} is not what was written`);
  }
  secret.checkRead(asked, read);
  return read.version;
}

/** Moves a secret to another place. */
export async function moveSecret(
  client: Client,
  secret: KnownSecret,
  to: { vault: KnownVault; name: string },
): Promise<void> {
  secret.beginChange();
  const body = { vault: to.vault.name, name: to.name };
  const answer = await client.ask('secret.move', { method: 'POST', path: `${secret.path}:move`, body });
  if (answer?.status === 404) throw new Violation(`${secret.path} is moved as if it did not exist`);
  const isMoved = answer !== undefined || (await exists(client, `/vaults/${to.vault.name}/secrets/${to.name}`));
  if (isMoved) relocate(secret, to);
  else if (!(await exists(client, secret.path))) throw new Violation(`${secret.path} is lost by a move`);
  secret.endChange();
}

function relocate(secret: KnownSecret, { vault, name }: { vault: KnownVault; name: string }): void {
  secret.vault.secrets.splice(secret.vault.secrets.indexOf(secret), 1);
  vault.secrets.push(secret);
  secret.vault = vault;
  secret.name = name;
}

async function exists(client: Client, path: string): Promise<boolean> {
  return (await client.insist('secret.read', { method: 'GET', path })).status === 200;
}

/** Puts a secret into the trash. */
export async function trashSecret(client: Client, secret: KnownSecret): Promise<void> {
  secret.beginChange();
  const answer = await client.ask('secret.delete', { method: 'DELETE', path: secret.path });
  if (answer?.status === 404) throw new Violation(`${secret.path} is deleted as if it did not exist`);
  secret.isTrashed = answer !== undefined || !(await exists(client, secret.path));
  secret.endChange();
}

/** Restores a secret from the trash. */
export async function restoreSecret(client: Client, secret: KnownSecret): Promise<void> {
  secret.beginChange();
  const answer = await client.ask('secret.restore', { method: 'POST', path: `${secret.path}:restore` });
  if (answer?.status === 404) throw new Violation(`${secret.path} is not in the trash any more`);
  secret.isTrashed = answer === undefined && !(await exists(client, secret.path));
  secret.endChange();
}

/** Makes an empty vault with a name that no vault had before. */
export async function createVault(client: Client, name: string): Promise<KnownVault> {
  const request: HttpRequest = { method: 'POST', path: '/vaults', body: { name, maxVersions: VERSIONS_MAX } };
  const readVault: HttpRequest = { method: 'GET', path: `/vaults/${name}` };
  while (!(await client.ask('vault.create', request))) {
    if ((await client.insist('vault.read', readVault)).status === 200) break;
  }
  return { name, secrets: [] };
}

/** Deletes a vault with everything in it. */
export async function deleteVault(client: Client, { name, secrets }: KnownVault): Promise<void> {
  for (const secret of secrets) secret.beginChange();
  const request: HttpRequest = { method: 'DELETE', path: `/vaults/${name}?recursive=true` };
  for (;;) {
    const answer = await client.ask('vault.delete', request);
    if (answer?.status === 404) throw new Violation(`the vault ${name} is deleted as if it did not exist`);
    if (answer) return;
    if ((await client.insist('vault.read', { method: 'GET', path: `/vaults/${name}` })).status === 404) return;
  }
}

/** Writes one new version of each secret by one import. Secrets that are new are added to the vault. */
export async function importVersions(
  client: Client,
  vault: KnownVault,
  values: ReadonlyMap<string, string>,
): Promise<void> {
  const known = new Map(vault.secrets.map((secret) => [secret.name, secret]));
  const secrets = [...values.keys()].map((name) => known.get(name) ?? new KnownSecret(vault, name));
  for (const secret of secrets) secret.beginChange(values.get(secret.name));
  const content = JSON.stringify(Object.fromEntries(values));
  const path = `/vaults/${vault.name}/secrets:import`;
  const request: HttpRequest = { method: 'POST', path, body: { format: 'json', content } };
  const [first] = secrets;
  while (!(await isImported(client, request, first!, values))) continue;
  for (const secret of secrets) {
    secret.values.push(values.get(secret.name)!);
    secret.endChange();
    if (!known.has(secret.name)) vault.secrets.push(secret);
  }
}

// An import is one transaction, so its first secret tells whether it was done.
async function isImported(
  client: Client,
  request: HttpRequest,
  first: KnownSecret,
  values: ReadonlyMap<string, string>,
): Promise<boolean> {
  const answer = await client.ask('secret.import', request, { entries: values.size + 1 });
  if (!answer) return (await readNewest(client, first, values.get(first.name)!)) > first.values.length;
  const { items } = bodyOf<{ items: { name: string; version?: number; result: string }[] }>(answer);
  const isRight =
    items.length === values.size && items.every(({ result }) => result === 'created' || result === 'updated');
  if (!isRight) throw new Violation(`an import into ${first.vault.name} was answered ${answer.text}`);
  return true;
}
