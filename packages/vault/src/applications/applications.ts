import { changesBetween, timeField } from '@cardea/contracts/audit-changes';
import type { AuditFields } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { credentialHash, generateCredential } from '@cardea/crypto/credential';
import { uuidv7 } from '@cardea/crypto/ids';
import { UniqueViolation } from '@cardea/storage/db';
import type { Queryable } from '@cardea/storage/db';
import { announcementOf, nextAnnouncement } from '../announcements.ts';
import { authorizeSystem } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { fromCursor } from '../cursor.ts';
import type { ListId } from '../cursor.ts';
import { removeGrantsTo } from '../grants/grant-store.ts';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { audited, changed } from '../record.ts';
import { refusePast } from '../refuse-past.ts';
import {
  countValidCredentials,
  deleteApplicationRow,
  deleteCredentialRow,
  findApplication,
  insertApplication,
  insertCredential,
  listApplicationRows,
  listCredentialRows,
  updateApplication,
} from './application-store.ts';
import type { ApplicationRow, CredentialRow } from './application-store.ts';

export interface Application {
  clientId: string;
  name: string;
  description: string;
  allowedCidrs: string[];
  disabled: boolean;
  expiresAt?: Date;
  createdAt: Date;
}

export interface Credential {
  id: string;
  expiresAt?: Date;
  createdAt: Date;
  lastUsedAt?: Date;
}

/** Two, so that one can be replaced by another without a moment in which neither works. */
const CREDENTIALS_MAX = 2;

/** Makes an application with its first secret, shown once. @throws AppError `conflict` if the name is taken */
export async function createApplication(
  ctx: VaultContext,
  caller: Caller,
  application: { name: string; description: string; allowedCidrs: string[]; expiresAt?: Date | undefined },
): Promise<Audited<Application & { clientSecret: string }>> {
  const { rule } = authorizeSystem(ctx, caller, 'application.manage');
  const { name, description, allowedCidrs, expiresAt } = application;
  refusePast(ctx, expiresAt);
  const clientSecret = generateCredential();
  try {
    return await changed(ctx, caller, async (tx) => {
      const createdAt = ctx.now().getTime();
      const due = expiresAt?.getTime() ?? null;
      const row: ApplicationRow = {
        id: uuidv7(createdAt),
        name,
        description,
        allowed_cidrs: JSON.stringify(allowedCidrs),
        disabled: 0,
        expires_at: due,
        announce_at: nextAnnouncement(ctx, due, createdAt),
        created_at: createdAt,
      };
      await insertApplication(tx, { ...row, created_by: caller.actor.id });
      const secretHash = credentialHash(clientSecret);
      const withoutExpiry = { expiresAt: null, announceAt: null };
      const credential = { id: uuidv7(createdAt), applicationId: row.id, secretHash, createdAt };
      await insertCredential(tx, { ...credential, ...withoutExpiry });
      const changes = changesBetween({}, applicationFields(row));
      const facts: EventFacts = { action: 'application.create', rule, changes, resource: { application: name } };
      return { value: { ...toApplication(row), clientSecret }, facts };
    });
  } catch (error) {
    if (!(error instanceof UniqueViolation)) throw error;
    throw new AppError('conflict', 'an application with this name exists already', { cause: error });
  }
}

const APPLICATIONS: ListId = ['applications'];

export async function listApplications(
  ctx: VaultContext,
  caller: Caller,
  { limit, cursor }: PageRequest,
): Promise<Audited<Page<Application>>> {
  const right = authorizeSystem(ctx, caller, 'application.manage');
  const [after] = fromCursor(APPLICATIONS, cursor, ['']);
  const rows = await listApplicationRows(ctx.db, { after, limit: limit + 1 });
  const page = pageOf(APPLICATIONS, rows.map(toApplication), limit, ({ name }) => [name]);
  return audited(
    ctx,
    caller,
    [right],
    { action: 'application.list', rule: right.rule, resource: { count: page.items.length } },
    () => page,
  );
}

export async function readApplication(ctx: VaultContext, caller: Caller, name: string): Promise<Audited<Application>> {
  const right = authorizeSystem(ctx, caller, 'application.manage');
  const row = await getApplication(ctx.db, name);
  const facts: EventFacts = { action: 'application.read', rule: right.rule, resource: { application: name } };
  return audited(ctx, caller, [right], facts, () => toApplication(row));
}

export async function changeApplication(
  ctx: VaultContext,
  caller: Caller,
  name: string,
  change: {
    description?: string | undefined;
    allowedCidrs?: string[] | undefined;
    disabled?: boolean | undefined;
    expiresAt?: Date | null | undefined;
  },
): Promise<Audited<Application>> {
  const { rule } = authorizeSystem(ctx, caller, 'application.manage');
  refusePast(ctx, change.expiresAt);
  return changed(ctx, caller, async (tx) => {
    const row = await getApplication(tx, name);
    const due = change.expiresAt === undefined ? row.expires_at : (change.expiresAt?.getTime() ?? null);
    const next: ApplicationRow = {
      ...row,
      description: change.description ?? row.description,
      allowed_cidrs: change.allowedCidrs ? JSON.stringify(change.allowedCidrs) : row.allowed_cidrs,
      disabled: change.disabled === undefined ? row.disabled : Number(change.disabled),
      expires_at: due,
      announce_at: announcementOf(ctx, { due_at: row.expires_at, ...row }, { due, now: ctx.now().getTime() }),
    };
    await updateApplication(tx, next);
    const changes = changesBetween(applicationFields(row), applicationFields(next));
    const resource = { application: name };
    const facts: EventFacts = { action: 'application.change', rule, changes, resource };
    return { value: toApplication(next), facts };
  });
}

export async function deleteApplication(ctx: VaultContext, caller: Caller, name: string): Promise<Audited<undefined>> {
  const { rule } = authorizeSystem(ctx, caller, 'application.manage');
  return changed(ctx, caller, async (tx) => {
    const row = await getApplication(tx, name);
    await removeGrantsTo(tx, `application:${row.id}`);
    await deleteApplicationRow(tx, row.id);
    const changes = changesBetween(applicationFields(row), {});
    const facts: EventFacts = { action: 'application.delete', rule, changes, resource: { application: name } };
    return { value: undefined, facts };
  });
}

/**
 * Makes a second secret, shown once. A secret that has expired does not count.
 * @throws AppError `conflict` if there are two already, `invalid_request` for an expiry in the past
 */
export async function createCredential(
  ctx: VaultContext,
  caller: Caller,
  { name, expiresAt }: { name: string; expiresAt?: Date | undefined },
): Promise<Audited<Credential & { clientSecret: string }>> {
  const { rule } = authorizeSystem(ctx, caller, 'application.manage');
  refusePast(ctx, expiresAt);
  const clientSecret = generateCredential();
  return changed(ctx, caller, async (tx) => {
    const { id: applicationId } = await getApplication(tx, name);
    const createdAt = ctx.now().getTime();
    if ((await countValidCredentials(tx, { applicationId, now: createdAt })) >= CREDENTIALS_MAX) {
      throw new AppError('conflict', 'the application has two secrets already: delete one first');
    }
    const due = expiresAt?.getTime() ?? null;
    const row: CredentialRow = { id: uuidv7(createdAt), expires_at: due, created_at: createdAt, last_used_at: null };
    const expiry = { expiresAt: due, announceAt: nextAnnouncement(ctx, due, createdAt) };
    const secretHash = credentialHash(clientSecret);
    await insertCredential(tx, { id: row.id, applicationId, secretHash, ...expiry, createdAt });
    const changes = changesBetween({}, credentialFields(row));
    const resource = { application: name, name: row.id };
    return {
      value: { ...toCredential(row), clientSecret },
      facts: { action: 'credential.create', rule, resource, changes },
    };
  });
}

export async function listCredentials(
  ctx: VaultContext,
  caller: Caller,
  { name, limit, cursor }: { name: string } & PageRequest,
): Promise<Audited<Page<Credential>>> {
  const right = authorizeSystem(ctx, caller, 'application.manage');
  const { id: applicationId } = await getApplication(ctx.db, name);
  const list: ListId = ['credentials', applicationId];
  const [after] = fromCursor(list, cursor, ['']);
  const rows = await listCredentialRows(ctx.db, { applicationId, after, limit: limit + 1 });
  const page = pageOf(list, rows.map(toCredential), limit, ({ id }) => [id]);
  const resource = { application: name, count: page.items.length };
  return audited(ctx, caller, [right], { action: 'credential.list', rule: right.rule, resource }, () => page);
}

/** Withdraws a secret and its tokens. @throws AppError `not_found`, also for a secret of another application */
export async function deleteCredential(
  ctx: VaultContext,
  caller: Caller,
  { name, id }: { name: string; id: string },
): Promise<Audited<undefined>> {
  const { rule } = authorizeSystem(ctx, caller, 'application.manage');
  return changed(ctx, caller, async (tx) => {
    const { id: applicationId } = await getApplication(tx, name);
    const deleted = await deleteCredentialRow(tx, { id, applicationId });
    if (!deleted) throw new AppError('not_found', 'no such credential', { rule: 'no-such-credential' });
    const changes = changesBetween(credentialFields(deleted), {});
    const facts: EventFacts = { action: 'credential.delete', rule, changes, resource: { application: name, name: id } };
    return { value: undefined, facts };
  });
}

async function getApplication(db: Queryable, name: string): Promise<ApplicationRow> {
  const row = await findApplication(db, name);
  if (!row) throw new AppError('not_found', 'no such application', { rule: 'no-such-application' });
  return row;
}

/** The fields of a change that an audit record shows. */
export function applicationFields(row: ApplicationRow): AuditFields {
  const { description, allowedCidrs, disabled } = toApplication(row);
  return { description, allowedCidrs, disabled, expiresAt: timeField(row.expires_at) };
}

function credentialFields({ id, expires_at: expiresAt }: Pick<CredentialRow, 'id' | 'expires_at'>): AuditFields {
  return { id, expiresAt: timeField(expiresAt) };
}

function toApplication(row: ApplicationRow): Application {
  return {
    clientId: row.id,
    name: row.name,
    description: row.description,
    allowedCidrs: JSON.parse(row.allowed_cidrs) as string[],
    disabled: row.disabled === 1,
    ...(row.expires_at === null ? {} : { expiresAt: new Date(row.expires_at) }),
    createdAt: new Date(row.created_at),
  };
}

function toCredential(row: CredentialRow): Credential {
  return {
    id: row.id,
    ...(row.expires_at === null ? {} : { expiresAt: new Date(row.expires_at) }),
    createdAt: new Date(row.created_at),
    ...(row.last_used_at === null ? {} : { lastUsedAt: new Date(row.last_used_at) }),
  };
}
