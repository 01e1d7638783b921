import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { AuditLog } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { KekSeals } from '@cardea/contracts/kek-seals';
import type { Keks } from '@cardea/contracts/keks';
import type { WebhookEndpoint, WebhookSender } from '@cardea/contracts/webhooks/sender';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import type { KeyMaterial } from '@cardea/crypto/keys/key-material';
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
  /** How many vaults one user may have made, whoever owns them now. */
  vaultsMadePerUser: number;
  /** How many secrets one vault may hold, with those in the trash. */
  secretsPerVault: number;
  /** The most bytes of a value. */
  secretBytesMax: number;
  /** How many keys one vault may hold, with those that wait for their destruction. */
  keysPerVault: number;
  /** The receivers of webhooks. */
  webhooks: readonly WebhookEndpoint[];
}

/** What the rules need from outside. A service builds one. No rule knows the profile. */
export interface VaultContext {
  db: Db;
  keks: Keks;
  deks: DekCache;
  keyMaterials: KeyMaterials;
  slowWork: SlowWork;
  keyUses: KeyUses;
  seals: KekSeals;
  audit: AuditLog;
  outbox: Outbox;
  passwords: PasswordHasher;
  lastReads: LastReads;
  bulkTurns: BulkTurns;
  /** How many secrets may be added to a vault before they must be counted again: see `refuseFullVault`. */
  room: Map<string, VaultRoom>;
  /** A caller who has signed in, as the database has them now. @throws AppError `unauthenticated` if they may not act */
  callerNow(db: Queryable, caller: Caller): Promise<Caller>;
  webhookSender: WebhookSender;
  settings: VaultSettings;
  /** Starts a job soon. A job that is lost is found again by a schedule: due work is in the database. */
  jobs: Pick<Queue, 'add'>;
  /** The time of day, for what is stored or shown. Every rule uses this clock. */
  now(): Date;
  /** For what waits or expires in memory. */
  steadyMs: SteadyClock;
}

/**
 * Unwrapped DEKs, in this process's memory only: at most 1,024 of them, for at most 5 minutes each. Everything that is
 * sealed is opened through this cache. It hands out no key while the audit log is known not to answer.
 *
 * `by` is the key of the caller who needs a DEK (`callerKey`), or undefined for Cardea itself. A caller whose keys fill
 * the cache, or who has too many unwrapped, takes nothing from others.
 */
export interface DekCache {
  /**
   * Runs `work` with a DEK. `work` is synchronous: the key may be overwritten as soon as `work` returns.
   * @throws AppError `sealed`, `unavailable` if the key service cannot unwrap it now, or the audit log does not answer;
   * `rate_limited` if the caller has too many unwrapped
   */
  use<T>(ref: DekRef, work: (dek: EnvelopeKey) => T, by?: string): Promise<T>;
  /**
   * The DEK, if it is in the cache. Use it before you await anything. This is for transactions, which never wait for
   * the key service: after DekNotLoaded, `load` the DEK outside of the transaction and run the transaction again.
   * @throws DekNotLoaded; AppError `unavailable` while the audit log does not answer
   */
  get(ref: DekRef): EnvelopeKey;
  /** Unwraps a DEK into the cache, so that `get` finds it. @throws AppError as `use` */
  load(ref: DekRef, by?: string): Promise<void>;
  /** Overwrites expired keys. Called about every second, because a key may never be asked for again. */
  sweep(): void;
  /** Overwrites the keys of a vault, including keys that are being unwrapped now. */
  forget(vaultId: string): void;
  /** Overwrites every key, including keys that are being unwrapped now. */
  clear(): void;
  /** How often a DEK was in the cache and was not, since the start, and how many DEKs are kept now. For metrics. */
  figures(): { hits: number; misses: number; kept: number };
}

/**
 * The turns of imports, exports, and deletions and moves of many secrets in this process, dry runs included. A caller
 * has one at a time (two batches), so that whatever one caller sends, the turn of another comes soon.
 */
export interface BulkTurns {
  /**
   * Runs `work` when it is its turn. `inBulkTurn` calls it, once the caller is known to have the right.
   * @throws AppError `rate_limited` if too many wait, or if the turn does not come in time; whatever `work` throws
   */
  run<T>(caller: Caller, work: () => Promise<T>): Promise<T>;
  /** The same for batches of more than 10 secrets, which are short: a caller has two at a time, and more wait. */
  runBatch<T>(caller: Caller, work: () => Promise<T>): Promise<T>;
}

/**
 * Opened material of keys, in this process's memory only: at most 1,024 versions, for at most 5 minutes each. It only
 * remembers what opened: material is used for the very row that it was opened from, so a row that was edited, moved or
 * destroyed is opened again, or does not open. A caller who uses many keys takes nothing from others.
 * OpenSSL overwrites the bytes once nothing refers to them.
 */
export interface KeyMaterials {
  /**
   * The material of a row, from memory or by `open`. `context` is what the row is bound to. `by` is the key of the caller
   * who needs it: see `DekCache`.
   * @throws whatever `open` throws
   */
  use(
    row: { vaultId: string; context: Uint8Array; ciphertext: Uint8Array },
    open: () => Promise<KeyMaterial>,
    by?: string,
  ): Promise<KeyMaterial>;
  /** Drops what has been kept for 5 minutes. Called about every second. */
  sweep(): void;
  /** Drops the material of a vault, including what is being opened now. */
  forget(vaultId: string): void;
  /** Drops everything, including what is being opened now. */
  clear(): void;
}

/**
 * Runs what takes a thread for more than a moment, such as RSA, once it is the turn of the caller, a `callerKey`: a few at
 * a time in all.
 * @throws AppError `rate_limited`, `unavailable` if too much waits already; whatever the work throws
 */
export interface SlowWork {
  /** Signs, decrypts and their kind. */
  use<T>(caller: string, work: () => Promise<T>): Promise<T>;
  /** Makes the material of a key. Has turns of its own, because it takes a thousand times as long. */
  generate<T>(caller: string, work: () => Promise<T>): Promise<T>;
}

/** What a version of a key did. `rewrap` decrypts and encrypts; a data key is encrypted. */
export type KeyOperation =
  | 'encrypt'
  | 'decrypt'
  | 'sign'
  | 'verify'
  | 'mac'
  | 'verifyMac'
  | 'deriveSharedSecret'
  | 'encapsulate'
  | 'decapsulate';

/**
 * Counts how often each version of a key was used, and writes the counts to the database from time to time: a use must
 * not cost a write. A crash loses a few seconds of them. The audit log still has those uses.
 */
export interface KeyUses {
  /** Never forgets a use: what a key may still encrypt is counted by them. */
  note(use: NotedUse): void;
  /** Whether `by` may note more. If not, they wait for `flush` before they use a key. */
  hasRoom(by: string): boolean;
  /** Writes the counts until now. What it cannot write stays noted. @throws DbUnavailable */
  flush(): Promise<void>;
}

/** Uses of a version, and the last of them: by whom, and when. */
export interface NotedUse {
  keyId: string;
  version: number;
  operation: KeyOperation;
  count: number;
  at: number;
  /** A principal: `user:<id>`. */
  by: string;
}

/** Deletes outbox rows that the audit log has acknowledged, and adds those that could not be added at once. */
export interface Outbox {
  /** Notes that the log has an event. Its row is deleted soon, with others. A lost note only costs a repeat. */
  acknowledge(id: string): void;
  /**
   * Keeps events in memory until the database takes them. For those without a change: a crash loses them. Returns how many
   * found no room, since the start.
   */
  keep(events: AuditEvent[]): number;
  /** Adds the kept events and deletes the rows acknowledged until now. Resolves once that is done, by whichever call. */
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

/** What is known of the room in a vault. */
export interface VaultRoom {
  left: number;
  /** By `steadyMs`. */
  until: number;
}

/** The last read of a version: by whom, and when. */
export interface LastRead {
  secretId: string;
  version: number;
  at: number;
  /** A principal: `user:<id>`. */
  by: string;
}
