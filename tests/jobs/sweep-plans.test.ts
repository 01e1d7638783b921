import type { Db } from '@cardea/storage/db';
import { addManySecrets } from '@cardea/testkit/many-secrets';
import { applicationAnnouncements, applicationExpiries } from '@cardea/vault/applications/application-expiry';
import { credentialAnnouncements, credentialExpiries } from '@cardea/vault/applications/credential-expiry';
import type { VaultContext } from '@cardea/vault/context';
import type { timedWork } from '@cardea/vault/due-work';
import { grantAnnouncements, grantExpiries } from '@cardea/vault/grants/grant-expiry';
import { keyDestructions, keyRotations } from '@cardea/vault/keys/schedule/key-sweep';
import { secretAnnouncements, secretExpiries, versionExpiries } from '@cardea/vault/secrets/lifecycle/expiry';
import { trashRetention } from '@cardea/vault/secrets/lifecycle/trash-sweep';
import type { DueWork } from '@cardea/vault/sweep';
import { userAnnouncements, userExpiries } from '@cardea/vault/users/user-expiry';
import { describe, expect, test } from '@jest/globals';
import { engines, expectIndexed, plansOf, usePlannedDb } from '../secrets/plans.ts';

const VAULT = '00000000-0000-7000-8000-000000000000';
const ROWS = 12_000;
const OTHER_VAULTS = 2_000;
const LIMIT = 100;
/** Row `i` is due so many milliseconds after `DUE_FROM`. The first half is due at `NOW`. */
const DUE_FROM = 2e12;
const NOW = DUE_FROM + ROWS / 2;

type Works = typeof timedWork;
type Kind = { [J in keyof Works]: keyof Works[J] }[keyof Works];

// Without a row for each kind of timed work, this does not compile.
const works: Record<Kind, Pick<DueWork<{ at: number }>, 'list'>> = {
  'application.announcement': applicationAnnouncements,
  'application.expiry': applicationExpiries,
  'credential.announcement': credentialAnnouncements,
  'credential.expiry': credentialExpiries,
  'grant.announcement': grantAnnouncements,
  'grant.expiry': grantExpiries,
  'key.destruction': keyDestructions,
  'key.rotation': keyRotations,
  'secret.announcement': secretAnnouncements,
  'secret.expiry': secretExpiries,
  'version.expiry': versionExpiries,
  'secret.trash': trashRetention,
  'user.announcement': userAnnouncements,
  'user.expiry': userExpiries,
};

describe.each(engines)('on %s, %s, with many rows that are due,', (engine, analysed) => {
  const planned = usePlannedDb({ engine, analysed, fill });

  test.each(Object.entries(works))('a page of the sweep %s is read from an index in its order', async (_kind, due) => {
    const list = (of: Db, after: { at: number } | undefined) =>
      due.list({ db: of, settings: { trashMs: 0 } } as VaultContext, {
        now: NOW,
        after,
        limit: LIMIT,
      });
    const first = await list(planned.db, undefined);
    const second = await list(planned.db, first.at(-1));
    expect([first.length, second.length]).toEqual([LIMIT, LIMIT]);
    expect(second[0]!.at).toBeGreaterThan(first.at(-1)!.at);
    for (const after of [undefined, first.at(-1)]) {
      // A row and those that it refers to, for each of the page.
      for (const plan of await plansOf(planned, (of) => list(of, after))) expectIndexed(plan, { rowsMax: 4 * LIMIT });
    }
  });
});

async function fill(db: Db): Promise<void> {
  await db.query(
    `with recursive number (i) as (select 0 union all select i + 1 from number where i < $2)
     insert into vault (id, name, description, max_versions, created_at, created_by)
     select case i when 0 then $1 else 'vault-' || i end, 'vault-' || i, '', 10, 0, 'user:nobody'
       from number`,
    [VAULT, OTHER_VAULTS],
  );
  await addManySecrets(db, { vaultId: VAULT, from: 0, to: ROWS });
  await db.query(
    `update secret
        set due_at = cast($1 as bigint) + 1000000000,
            announce_at = $1 + cast(substr(id, length($2) + 2) as bigint),
            expires_at = $1 + cast(substr(id, length($2) + 2) as bigint),
            trashed_at = $1 + cast(substr(id, length($2) + 2) as bigint)
      where vault_id = $2`,
    [DUE_FROM, VAULT],
  );
  await db.query(
    `update secret_version
        set expires_at = $1 + cast(substr(secret_id, length($2) + 2) as bigint)
      where vault_id = $2`,
    [DUE_FROM, VAULT],
  );
  await addUsers(db);
  await addApplications(db);
  await addGrants(db);
  await addKeys(db);
}

// For each kind, half of the rows have an expiry that is due, and the other half one that is only announced.
const DUE_COLUMNS = `case when i % 2 = 0 then $2 + i / 2 else $2 + 1000000000 end,
            case when i % 2 = 1 then $2 + i / 2 end`;

async function addUsers(db: Db): Promise<void> {
  await db.query(
    `with recursive number (i) as (select cast(0 as bigint) union all select i + 1 from number where i + 1 < $1)
     insert into app_user (id, username, role, password_hash, password_state, disabled, expires_at, announce_at,
                           totp_enabled, totp_last_step, created_at, updated_at)
     select 'user-' || i, 'user-' || i, 'developer', '', 'chosen', 0, ${DUE_COLUMNS}, 0, 0, 0, 0
       from number`,
    [2 * ROWS, DUE_FROM],
  );
}

async function addApplications(db: Db): Promise<void> {
  await db.query(
    `with recursive number (i) as (select cast(0 as bigint) union all select i + 1 from number where i + 1 < $1)
     insert into application (id, name, description, allowed_cidrs, disabled, expires_at, announce_at, created_at,
                              created_by)
     select 'application-' || i, 'application-' || i, '', '[]', 0, ${DUE_COLUMNS}, 0, 'user:nobody'
       from number`,
    [2 * ROWS, DUE_FROM],
  );
  await db.query(
    `with recursive number (i) as (select cast(0 as bigint) union all select i + 1 from number where i + 1 < $1)
     insert into application_credential (id, application_id, secret_hash, expires_at, announce_at, created_at)
     select 'credential-' || i, 'application-' || i, ${hashOf(db)}, ${DUE_COLUMNS}, 0
       from number`,
    [2 * ROWS, DUE_FROM],
  );
}

/** Bytes that differ from row to row. */
function hashOf({ engine }: Db): string {
  return engine === 'sqlite' ? `cast('hash' || i as blob)` : `convert_to('hash' || i, 'UTF8')`;
}

async function addGrants(db: Db): Promise<void> {
  await db.query(
    `with recursive number (i) as (select cast(0 as bigint) union all select i + 1 from number where i + 1 < $1)
     insert into vault_grant (vault_id, principal, owner, secrets, keys, allowed_cidrs, expires_at, announce_at,
                              created_at, created_by)
     select $3, 'user:user-' || i, 0, '[]', '[]', '[]', ${DUE_COLUMNS}, 0, 'user:nobody'
       from number`,
    [2 * ROWS, DUE_FROM, VAULT],
  );
}

// Half of the keys are due for rotation, and the other half for destruction.
async function addKeys(db: Db): Promise<void> {
  await db.query(
    `with recursive number (i) as (select cast(0 as bigint) union all select i + 1 from number where i + 1 < $1)
     insert into vault_key (id, vault_id, name, algorithm, current_version, min_encrypt_version, min_decrypt_version,
                            deletion_protection, delete_at, rotate_at, created_at, created_by, updated_at)
     select 'key-' || i, $3, 'key-' || i, 'ed25519', 1, 1, 1, 0, case when i % 2 = 0 then $2 + i / 2 end,
            case when i % 2 = 1 then $2 + i / 2 end, 0, 'user:nobody', 0
       from number`,
    [2 * ROWS, DUE_FROM, VAULT],
  );
}
