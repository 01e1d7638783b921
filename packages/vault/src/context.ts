import type { AuditLog } from '@cardea/contracts/audited';
import type { Keks } from '@cardea/contracts/keks';
import type { PasswordHasher } from '@cardea/crypto/password';
import type { Db } from '@cardea/storage/db';
import { createOutbox } from './outbox.ts';
import type { Outbox } from './outbox.ts';
import { createLastReads } from './secrets/last-reads.ts';
import type { LastReads } from './secrets/last-reads.ts';
import { createDekCache } from './vaults/dek-cache.ts';
import type { DekCache } from './vaults/dek-cache.ts';

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

/** What a service brings along; the rest follows from it. */
export type World = Pick<VaultContext, 'db' | 'keks' | 'audit' | 'passwords' | 'settings' | 'now'>;

export function createVaultContext(world: World): VaultContext {
  const { db, keks, now } = world;
  return {
    ...world,
    deks: createDekCache(db, keks, () => now().getTime()),
    outbox: createOutbox(db),
    lastReads: createLastReads(db),
  };
}
