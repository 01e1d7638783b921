import type { AuditLog } from '@cardea/contracts/audited';
import type { Keks } from '@cardea/contracts/keks';
import type { PasswordHasher } from '@cardea/crypto/password';
import type { Db } from '@cardea/storage/db';
import type { DekCache } from './deks/dek-cache.ts';
import type { Outbox } from './outbox.ts';
import type { LastReads } from './secrets/lifecycle/last-reads.ts';

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
