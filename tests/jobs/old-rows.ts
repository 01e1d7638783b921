import type { Db } from '@cardea/storage/db';

/** Half of the rows are older than this, and the others are not. */
export const NOW = 1e12;

const ROWS = 40_000;

/** Adds rows to each table whose old rows a job removes, and to those that a job lists. */
export async function addOldRows(db: Db): Promise<void> {
  for (const sql of filling(db.engine)) await db.query(sql);
}

// The times of neighbours in a table are far apart, as in a table that was written over months.
function numbers(): string {
  return `with recursive numbered (i) as (select cast(0 as bigint) union all select i + 1 from numbered where i < ${ROWS} - 1),
          n (i, at) as (select i, i * 7919 % 100000 + 1 from numbered)`;
}

// Of four rows two are old.
const oldOrNot = `case when i % 4 < 2 then at else ${NOW} + at end`;

function filling(engine: Db['engine']): string[] {
  const n = numbers();
  const bytes = engine === 'sqlite' ? `cast('x' || i as blob)` : `convert_to('x' || i, 'UTF8')`;
  return [
    `${n}
     insert into app_user (id, username, role, password_hash, password_state, disabled, totp_enabled, totp_last_step, created_at, updated_at)
     select 'user-' || i, 'user-' || i, 'developer', '', 'chosen', 0, 0, 0, 0, 0
       from n`,
    `${n}
     insert into application (id, name, description, allowed_cidrs, disabled, created_at, created_by)
     select 'application-' || i, 'application-' || i, '', '[]', 0, 0, 'user:nobody'
       from n`,
    `${n}
     insert into application_credential (id, application_id, secret_hash, expires_at, expired_at, created_at)
     select 'expired-' || i, 'application-' || i, ${bytes}, 0, ${oldOrNot}, 0
       from n`,
    `${n}
     insert into session (id, user_id, created_at, expires_at, ended_at, ip, user_agent)
     select 'session-' || i, 'user-' || i, 0, ${oldOrNot}, ${oldOrNot}, '', ''
       from n`,
    `${n}
     insert into sign_in_failure (subject, failures, last_at, locked_until)
     select 'user:' || i, 1, ${oldOrNot}, 0
       from n`,
    `${n}
     insert into event (id, vault_id, kind, payload, created_at)
     select 'event-' || i, 'vault-1', 'secret.expired', '{}', ${oldOrNot}
       from n`,
    `${n}
     insert into webhook_message (id, rotation_id, received_at)
     select 'message-' || i, '', ${oldOrNot}
       from n`,
    `${n}
     insert into outbox (id, event, created_at)
     select 'event-' || i, '{}', ${oldOrNot}
       from n`,
    `${n}
     insert into deleted_vault (id, deleted_at)
     select 'deleted-' || i, ${oldOrNot}
       from n`,
    // To three receivers. All dead ones are older than the delivered ones.
    `${n}
     insert into webhook_delivery (id, endpoint, kind, body, state, attempts, next_attempt_at, give_up_at, created_at,
                                   ended_at)
     select 'delivery-' || i, 'endpoint-' || (i % 3), 'secret.expired', '{}',
            case i % 4 when 0 then 'delivered' when 1 then 'dead' else 'waiting' end, 0,
            case when i % 4 > 1 then ${oldOrNot.replace('i % 4 < 2', 'i % 4 < 3')} end, at, 0,
            case i % 4 when 0 then 200000 + at when 1 then at end
       from n`,
  ];
}
