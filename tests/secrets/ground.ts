import { REFERENCE_TYPE } from '@cardea/contracts/secrets/secret-shapes';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import { contentsOf } from '@cardea/testkit/contents';
import type { Person, Stranger } from '@cardea/testkit/person';
import type { TestSystem } from '@cardea/testkit/system';

/** The path of a secret. */
export const at = (vault: string, name: string) => `/vaults/${vault}/secrets/${name}`;

/** The body of a write that makes a reference. */
export const reference = (vault: string, name: string) => ({
  value: JSON.stringify({ $ref: { vault, name } }),
  contentType: REFERENCE_TYPE,
});

/** Runs a statement on a separate connection, as somebody with the disk could. */
export async function query<Row>(system: TestSystem, sql: string, params: (string | number)[] = []): Promise<Row[]> {
  const db = system.openDatabase();
  try {
    return await db.query<Row>(sql, params);
  } finally {
    await db.close();
  }
}

/** Adds secrets without a value to a vault, faster than the front door: `<prefix>/1000` and so on. */
export async function addMany(
  system: TestSystem,
  { vault, prefix, count }: { vault: string; prefix: string; count: number },
): Promise<void> {
  await query(
    system,
    `with recursive n (i) as (select 1000 union all select i + 1 from n where i + 1 < 1000 + $3)
     insert into secret (id, vault_id, name, current_version, metadata, live, created_at, created_by, updated_at)
     select v.id || $2 || cast(n.i as text), v.id, $2 || '/' || cast(n.i as text), 1, '{}', 1, 1, 'service:test', 1
       from n
       join vault v on v.name = $1`,
    [vault, prefix, count],
  );
}

/** The versions of a secret that have a row, and whether each has a value. */
export async function storedVersions(
  system: TestSystem,
  vault: string,
  name: string,
): Promise<Record<number, boolean>> {
  const rows = await query<{ version: number; has_value: number }>(
    system,
    `select v.version, case when v.ciphertext is null then 0 else 1 end as has_value
       from secret_version v
       join secret s on s.id = v.secret_id
       join vault u on u.id = s.vault_id
      where u.name = $1
        and s.name = $2`,
    [vault, name],
  );
  return Object.fromEntries(rows.map((row) => [row.version, row.has_value === 1]));
}

const SECRET_TABLES = [
  'secret',
  'secret_version',
  'secret_word',
  'secret_label',
  'secret_reference',
  'given_up_name',
  'break_glass',
  'event',
];

/** All rows of secrets, and the rows that belong to them. */
export function contents(system: TestSystem): Promise<Record<string, string[]>> {
  return contentsOf(system, SECRET_TABLES);
}

/** The records of a vault's secrets, oldest first: `secret.read! db/password 1 expired gone` if denied. */
export async function trail(system: TestSystem, vault: string, action?: string): Promise<string[]> {
  const admin = await system.as('admin');
  const entries = await admin.auditEntries({ vault, ...(action === undefined ? {} : { action }) });
  return entries
    .toReversed()
    .filter(({ event }) => event.action.startsWith('secret.'))
    .map(({ event }) => told(event));
}

function told({ action, decision, resource, rule, reason }: AuditEvent): string {
  const what = [decision === 'deny' ? `${action}!` : action, resource?.name, resource?.version, rule, reason];
  return what.filter((part) => part !== undefined).join(' ');
}

/** The number of records in the audit log, up to the newest that is not about a look at the log. */
export async function countRecords(system: TestSystem): Promise<number> {
  const admin = await system.as('admin');
  const [entry] = await admin.auditEntries({ limit: '20' });
  return entry!.seq + 1;
}

/** The events that the owners of a vault see, oldest first. */
export async function eventsOf(system: TestSystem, vault: string): Promise<{ kind: string; payload: object }[]> {
  const admin = await system.as('admin');
  const { body } = await admin.get(`/vaults/${vault}/events`).expect(200);
  return (body.items as { kind: string; payload: object }[])
    .map(({ kind, payload }) => ({ kind, payload }))
    .toReversed();
}

/** The names that a list shows. */
export async function namesIn(person: Stranger, vault: string, search = ''): Promise<string[]> {
  const { body } = await person.get(`/vaults/${vault}/secrets${search}`).expect(200);
  return (body.items as { name: string }[]).map(({ name }) => name);
}

/** Resolves once the audit log answers again. */
export async function untilAnswers(person: Person): Promise<void> {
  const giveUpAt = Date.now() + 30_000;
  while ((await person.get('/auth/me')).status !== 200) {
    if (Date.now() > giveUpAt) throw new Error('the audit log is not back');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
