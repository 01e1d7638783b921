import type { AuditLog } from '@cardea/contracts/audited';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { Keks } from '@cardea/contracts/keks';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import type { PasswordHasher } from '@cardea/crypto/password';
import type { Db } from '@cardea/storage/db';

/** What whoever runs Cardea may set. */
export interface VaultSettings {
  /** How long before a secret ends that is announced, in milliseconds. */
  expiryLeadsMs: readonly number[];
  /** How long the trash is kept, in milliseconds. */
  trashMs: number;
}

/** What the rules need of the world. A service builds one; nothing here knows the profile. */
export interface VaultContext {
  db: Db;
  keks: Keks;
  deks: DekCache;
  audit: AuditLog;
  outbox: Outbox;
  passwords: PasswordHasher;
  lastReads: LastReads;
  settings: VaultSettings;
  /** The clock every rule uses. */
  now(): Date;
}

/**
 * Unwrapped DEKs, in this process's memory only, at most 1,024 of them and 5 minutes each. The way to all that is sealed
 * goes through here, and the audit log is asked each time: while it is known to be away, no key is handed out.
 */
export interface DekCache {
  /**
   * Runs `work` with a DEK. `work` is synchronous: the key may be overwritten as soon as it returns.
   * @throws AppError `sealed`, `unavailable` if the key service cannot unwrap it now, or the audit log is away
   */
  use<T>(ref: DekRef, work: (dek: EnvelopeKey) => T): Promise<T>;
  /**
   * The DEK if it is here, to be used before anything is awaited. For transactions, which never wait for the key
   * service: `load` it outside, and run the transaction again.
   * @throws DekNotLoaded; AppError `unavailable` while the audit log is away
   */
  get(ref: DekRef): EnvelopeKey;
  /** Makes `get` answer. @throws AppError `sealed`, `unavailable` */
  load(ref: DekRef): Promise<void>;
  /** Overwrites the keys whose time is up: called every second or so, for nobody may ask for them again. */
  sweep(): void;
  /** Overwrites the keys of a vault, those too that are being unwrapped now. */
  forget(vaultId: string): void;
  /** Overwrites every key. */
  clear(): void;
}

/** Forgets outbox rows that the audit log has acknowledged. */
export interface Outbox {
  /** Notes that the log has an event. Its row goes soon, together with others: losing this note only costs a repeat. */
  acknowledge(id: string): void;
  /** Deletes the rows of what was acknowledged until now. Resolves once they are gone, whichever call deletes them. */
  flush(): Promise<void>;
}

/**
 * Remembers who read what last and writes it down now and then: a read must not cost a write. A crash loses a few
 * seconds of it, which the audit log has.
 */
export interface LastReads {
  note(read: LastRead): void;
  /** What is noted of a secret and not written down yet. */
  of(secretId: string): LastRead[];
  /** Writes down what was noted until now. What it could not stays noted. @throws DbUnavailable */
  flush(): Promise<void>;
}

/** Who read a version last, and when. */
export interface LastRead {
  secretId: string;
  version: number;
  at: number;
  /** A principal: `user:<id>`. */
  by: string;
}
