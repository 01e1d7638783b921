import type { AuditLog } from '@cardea/contracts/audited';
import type { Keks } from '@cardea/contracts/keks';
import type { PasswordHasher } from '@cardea/crypto/password';
import type { Db } from '@cardea/storage/db';
import type { DekCache } from './vaults/dek-cache.ts';
import type { Outbox } from './outbox.ts';

/** What the rules need of the world. A service builds one; nothing here knows the profile. */
export interface VaultContext {
  db: Db;
  keks: Keks;
  deks: DekCache;
  audit: AuditLog;
  outbox: Outbox;
  passwords: PasswordHasher;
  /** The clock every rule uses. */
  now(): Date;
}
