import { recordedFields, timeField } from '@cardea/contracts/audit-changes';
import type { AuditFields } from '@cardea/contracts/audit-changes';
import type { Db } from '@cardea/storage/db';
import { pauseIfLong } from '@cardea/storage/long-work';
import type { VaultRow } from './access-store.ts';
import { listApplicationRows } from './applications/application-store.ts';
import { applicationFields } from './applications/applications.ts';
import { listGrantsOf } from './grants/grant-store.ts';
import { grantFields } from './grants/grants.ts';
import { justAfter, nameRanges } from './name-ranges.ts';
import { listKeysWithVersions } from './keys/key-state-store.ts';
import type { KeyWithVersions } from './keys/key-state-store.ts';
import { toKey } from './keys/key.ts';
import { isRecordWaiting } from './outbox.ts';
import { secretFields } from './secrets/secret-changes.ts';
import { listSecretsIn } from './secrets/secret-store.ts';
import type { SecretRow } from './secrets/secret-store.ts';
import { userFields } from './users/user-fields.ts';
import { listUserRows } from './users/user-store.ts';
import { listVaultRows } from './vaults/vault-store.ts';
import { vaultFields } from './vaults/vaults.ts';

const PAGE = 500;
/** A key comes with the state of each of its versions. */
const KEYS_PAGE = 20;

/** Something whose changes the audit log records, as the database has it now. */
interface RecordedObject {
  kind: 'user' | 'application' | 'vault' | 'grant' | 'secret' | 'key';
  /** The id of the vault that a grant, a secret or a key is in. */
  vaultId?: string;
  /** The name; of a vault, its id; of a grant, the principal: `user:alice`. */
  id: string;
  fields: ReturnType<typeof recordedFields>;
}

/**
 * What the database says of users, applications, vaults, grants, secrets and keys, as lines of JSON, under the names of fields
 * that records use. The verifier makes the same from the log and compares. No line has a value or a password.
 *
 * `seq` is an entry of the log that was there before this began to read. Each row is read at a moment of its own. So the
 * verifier accepts whatever the log has said of a row since that entry, and needs a log that was read after the last line.
 * The last line tells it that none is missing. `by` is the caller, as in `pauseIfLong`.
 */
export async function* listRecordedState(
  ctx: { db: Db },
  { seq, by }: { seq: number; by: string },
): AsyncGenerator<string> {
  yield line({ v: 1, kind: 'state', seq });
  let count = 0;
  for await (const object of listObjects(ctx.db)) {
    count += 1;
    yield line(object);
    await pauseIfLong(by);
  }
  // Also one that waits for a moment only: its change was read above, and the export of the log may come first.
  yield line({ kind: 'end', count, ...((await isRecordWaiting(ctx.db)) ? { recordsWait: true } : {}) });
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

async function* listObjects(db: Db): AsyncGenerator<RecordedObject> {
  const users = pages((after) => listUserRows(db, { after, limit: PAGE }), 'username');
  for await (const row of users) yield object('user', row.username, userFields(row));

  const applications = pages((after) => listApplicationRows(db, { after, limit: PAGE }), 'name');
  for await (const row of applications) yield object('application', row.name, applicationFields(row));

  const vaults = pages((after) => listVaultRows(db, { after, limit: PAGE }), 'name');
  for await (const vault of vaults) {
    yield object('vault', vault.id, { name: vault.name, ...vaultFields(vault) });
    yield* listInVault(db, vault);
  }
}

async function* listInVault(db: Db, { id: vaultId }: VaultRow): AsyncGenerator<RecordedObject> {
  const grants = pages((after) => listGrantsOf(db, { vaultId, after, limit: PAGE }), 'principal');
  for await (const grant of grants) yield { vaultId, ...object('grant', grant.principal, grantFields(grant)) };

  const secrets = pages((after) => listSecretsIn(db, { vaultId, range: namesAfter(after), limit: PAGE }), 'name');
  for await (const secret of secrets) {
    // A name that was taken, and never got a version.
    if (secret.current_version > 0) yield { vaultId, ...object('secret', secret.name, fieldsOf(secret)) };
  }

  const keys = pages((after) => listKeysWithVersions(db, { vaultId, after, limit: KEYS_PAGE }), 'name', KEYS_PAGE);
  for await (const key of keys) yield { vaultId, ...object('key', key.name, keyFields(key)) };
}

function keyFields({ versions, ...row }: KeyWithVersions): AuditFields {
  const { exportable, publicOnly, currentVersion, minEncryptVersion, minDecryptVersion, ...key } = toKey(row);
  return {
    algorithm: key.algorithm,
    exportable,
    derivation: key.derivation,
    publicOnly,
    currentVersion,
    minEncryptVersion,
    minDecryptVersion,
    deletionProtection: key.deletionProtection,
    deleteAt: timeField(row.delete_at),
    rotationPeriodSeconds: key.rotationPeriodSeconds,
    ...Object.fromEntries(versions.map(({ version, state }) => [`state.${version}`, state])),
  };
}

// What a secret in the trash has beside its version starts afresh with the next write.
function fieldsOf(secret: SecretRow): AuditFields {
  const version = secret.current_version;
  return secret.live === 1 ? { version, ...secretFields(secret) } : { version, inTrash: true };
}

function namesAfter(name: string) {
  return nameRanges({ from: name === '' ? '' : justAfter(name) })[0]!;
}

function object(kind: RecordedObject['kind'], id: string, fields: AuditFields): RecordedObject {
  return { kind, id, fields: recordedFields(fields) };
}

/** All rows of a list, page by page, in the order of `key`. */
async function* pages<Key extends string, Row extends Record<Key, string>>(
  listAfter: (after: string) => Promise<Row[]>,
  key: Key,
  limit = PAGE,
): AsyncGenerator<Row> {
  for (let after: string | undefined = ''; after !== undefined;) {
    const rows: Row[] = await listAfter(after);
    yield* rows;
    after = rows.length < limit ? undefined : rows.at(-1)![key];
  }
}
