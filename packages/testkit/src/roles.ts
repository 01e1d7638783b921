import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { migrateAll } from '@cardea/deploy/migrate';
import { runSql } from '@cardea/storage/test/run-sql';
import { findServer } from './servers.ts';

export type RoleName = 'migrate' | 'api' | 'worker' | 'audit_append' | 'audit_read' | 'exporter';

/** The databases of one installation of profile full, by name. */
export interface DatabaseNames {
  api: string;
  audit: string;
}

/** The password of a role. Each role has its own, so a test finds out if two are mixed up. */
export function passwordOf(role: RoleName): string {
  return `password of ${role}: 'é %2F@/`;
}

/**
 * Makes the roles and the databases as an operator does, with psql and `deploy/roles.sql`. It may run again, but not twice
 * at the same time. `url` is that of the superuser.
 */
export async function makeRoles(url: string, { api, audit }: DatabaseNames): Promise<void> {
  const roles: RoleName[] = ['migrate', 'api', 'worker', 'audit_append', 'audit_read', 'exporter'];
  const passwords = roles.flatMap((role) => ['-v', `${role}_password=${passwordOf(role)}`]);
  const databases = ['-v', `database=${api}`, '-v', `audit_database=${audit}`];
  const script = fileURLToPath(import.meta.resolve('@cardea/deploy/roles.sql'));
  const psql = findServer('psql', 'postgresql-client');
  await promisify(execFile)(psql, ['-X', '-q', ...passwords, ...databases, '-f', script, url]);
}

/** Makes databases with all tables and rights, ready for a system or as templates of other databases. */
export async function makeTemplates(url: string): Promise<DatabaseNames> {
  const suffix = crypto.randomUUID().replaceAll('-', '');
  const templates = { api: `cardea_${suffix}`, audit: `cardea_audit_${suffix}` };
  await makeRoles(url, templates);
  await migrateAll({
    database: { url: urlOf(url, 'migrate', templates.api) },
    auditDatabase: { url: urlOf(url, 'migrate', templates.audit) },
    allowFsyncOff: true,
  });
  return templates;
}

/** Makes databases that have what the templates have. */
export async function copyTemplates(url: string, templates: DatabaseNames): Promise<DatabaseNames> {
  const suffix = crypto.randomUUID().replaceAll('-', '');
  const copies = { api: `test_api_${suffix}`, audit: `test_audit_${suffix}` };
  for (const kind of ['api', 'audit'] as const) {
    await runSql(url, `create database ${copies[kind]} template ${templates[kind]} owner cardea_migrate`);
    // A copy does not have the rights to the database itself.
    const roles = kind === 'api' ? 'cardea_api, cardea_worker' : 'cardea_audit_append, cardea_audit_read';
    await runSql(url, `revoke all on database ${copies[kind]} from public`);
    await runSql(url, `grant connect on database ${copies[kind]} to ${roles}`);
  }
  return copies;
}

/** The URL of a database for a role, without its password. Without a role it is the URL of the superuser. */
export function urlOf(superuserUrl: string, role: RoleName | undefined, database: string): string {
  const url = new URL(superuserUrl);
  if (role !== undefined) url.username = `cardea_${role}`;
  url.pathname = `/${database}`;
  return url.href;
}
