import type { AuditLog } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { KekSeals } from '@cardea/contracts/kek-seals';
import type { Keks } from '@cardea/contracts/keks';
import type { WebhookEndpoint, WebhookSender } from '@cardea/contracts/webhooks/sender';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import type { PasswordHasher } from '@cardea/crypto/password';
import type { Queue } from '@cardea/jobs/queue';
import type { Db, Queryable } from '@cardea/storage/db';

/** What the operator may set. */
export interface VaultSettings {
  /** How long before its expiry a secret is announced, in milliseconds. */
  expiryLeadsMs: readonly number[];
  /** How long the trash is kept, in milliseconds. */
  trashMs: number;
  /** How long a DEK seals new values before the schedule rotates it, in milliseconds; 0 for no schedule. */
  dekRotationMs: number;
  /** How long after the last KEK rotation the schedule starts the next, in milliseconds; 0 for no schedule. */
  kekRotationMs: number;
  /** The receivers of webhooks. */
  webhooks: readonly WebhookEndpoint[];
}

/** What the rules need from outside. A service builds one. No rule knows the profile. */
export interface VaultContext {
  db: Db;
  keks: Keks;
  deks: DekCache;
  seals: KekSeals;
  audit: AuditLog;
  outbox: Outbox;
  passwords: PasswordHasher;
  lastReads: LastReads;
  /** A caller who has signed in, as the database has them now. @throws AppError `unauthenticated` if they may not act */
  callerNow(db: Queryable, caller: Caller): Promise<Caller>;
  webhookSender: WebhookSender;
  settings: VaultSettings;
  /** Starts a job soon. A job that is lost is found again by a schedule: due work is in the database. */
  jobs: Pick<Queue, 'add'>;
  /** The clock every rule uses. */
  now(): Date;
}

/**
 * Unwrapped DEKs, in this process's memory only: at most 1,024 of them, for at most 5 minutes each. Everything that is
 * sealed is opened through this cache. It hands out no key while the audit log is known not to answer.
 */
export interface DekCache {
  /**
   * Runs `work` with a DEK. `work` is synchronous: the key may be overwritten as soon as `work` returns.
   * @throws AppError `sealed`, `unavailable` if the key service cannot unwrap it now, or the audit log does not answer
   */
  use<T>(ref: DekRef, work: (dek: EnvelopeKey) => T): Promise<T>;
  /**
   * The DEK, if it is in the cache. Use it before you await anything. This is for transactions, which never wait for
   * the key service: after DekNotLoaded, `load` the DEK outside of the transaction and run the transaction again.
   * @throws DekNotLoaded; AppError `unavailable` while the audit log does not answer
   */
  get(ref: DekRef): EnvelopeKey;
  /** Unwraps a DEK into the cache, so that `get` finds it. @throws AppError `sealed`, `unavailable` */
  load(ref: DekRef): Promise<void>;
  /** Overwrites expired keys. Called about every second, because a key may never be asked for again. */
  sweep(): void;
  /** Overwrites the keys of a vault, including keys that are being unwrapped now. */
  forget(vaultId: string): void;
  /** Overwrites every key, including keys that are being unwrapped now. */
  clear(): void;
  /** How often a DEK was in the cache and was not, since the start, and how many DEKs are kept now. For metrics. */
  figures(): { hits: number; misses: number; kept: number };
}

/** Deletes outbox rows that the audit log has acknowledged. */
export interface Outbox {
  /** Notes that the log has an event. Its row is deleted soon, with others. A lost note only costs a repeat. */
  acknowledge(id: string): void;
  /** Deletes the rows acknowledged until now. Resolves once they are deleted, even if another call deletes them. */
  flush(): Promise<void>;
}

/**
 * Remembers the last read of each version and writes it to the database from time to time: a read must not cost a
 * write. A crash loses a few seconds of it. The audit log still has those reads.
 */
export interface LastReads {
  note(read: LastRead): void;
  /** The reads of a secret that are noted and not written yet. */
  of(secretId: string): LastRead[];
  /** Writes the reads noted until now. Reads that it cannot write stay noted. @throws DbUnavailable */
  flush(): Promise<void>;
}

/** The last read of a version: by whom, and when. */
export interface LastRead {
  secretId: string;
  version: number;
  at: number;
  /** A principal: `user:<id>`. */
  by: string;
}
