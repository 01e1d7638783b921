import type { AuditLog } from '@cardea/contracts/audited';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { Keks } from '@cardea/contracts/keks';
import { EnvelopeKey } from '@cardea/crypto/envelope';
import type { Queryable } from '@cardea/storage/db';
import type { DekCache } from '../context.ts';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { findWrappedDek, missingDek } from './dek-store.ts';

const DEKS_MAX = 1_024;
const KEPT_MS = 5 * MINUTE_MS;

/** A transaction needs a DEK that is not in the cache and must be unwrapped first. */
export class DekNotLoaded extends Error {
  override name = 'DekNotLoaded';
  readonly ref: DekRef;

  constructor(ref: DekRef) {
    super(`DEK ${ref.dekVersion} of vault ${ref.vaultId} is not in the cache`);
    this.ref = ref;
  }
}

interface World {
  db: Queryable;
  keks: Keks;
  audit: AuditLog;
  now(): Date;
}

interface Entry {
  key: EnvelopeKey;
  until: number;
}

export function createDekCache({ db, keks, audit, now }: World): DekCache {
  // In the order of last use: the first entry is evicted first.
  const entries = new Map<string, Entry>();
  const loading = new Map<string, Promise<Entry>>();
  const clock = () => now().getTime();
  let hits = 0;
  let misses = 0;

  // A caller that gets a key opens something with it, so the audit log must be able to take the record.
  function find(id: string): Entry | undefined {
    audit.admit();
    const entry = entries.get(id);
    if (!entry) return undefined;
    entries.delete(id);
    if (entry.until > clock()) {
      entries.set(id, entry);
      return entry;
    }
    entry.key.destroy();
    return undefined;
  }

  async function load(ref: DekRef, id: string): Promise<Entry> {
    const wrapped = await findWrappedDek(db, ref);
    if (!wrapped) throw await missingDek(db, ref);
    const bytes = await keks.unwrap(ref, wrapped);
    const entry = { key: new EnvelopeKey(ref.dekVersion, bytes), until: clock() + KEPT_MS };
    bytes.fill(0);
    entries.set(id, entry);
    evict();
    return entry;
  }

  function evict(): void {
    for (const [id, entry] of entries) {
      if (entries.size <= DEKS_MAX && entry.until > clock()) return;
      entries.delete(id);
      entry.key.destroy();
    }
  }

  // Concurrent requests for a missing DEK share one call to the key service.
  function loadOnce(ref: DekRef, id: string): Promise<Entry> {
    misses += 1;
    const underWay = loading.get(id);
    if (underWay) return underWay;
    const promise = load(ref, id).finally(() => loading.delete(id));
    loading.set(id, promise);
    return promise;
  }

  /** Overwrites the keys whose ids begin so, and those that are being unwrapped now once they are. */
  function forget(prefix: string): void {
    drop(prefix);
    for (const [id, promise] of loading) {
      // The caller that waits for the key gets the failure. There is no key to drop then.
      if (id.startsWith(prefix)) promise.then(() => drop(prefix)).catch(() => undefined);
    }
  }

  function drop(prefix: string): void {
    for (const [id, entry] of entries) {
      if (!id.startsWith(prefix)) continue;
      entries.delete(id);
      entry.key.destroy();
    }
  }

  return {
    async use(ref, work) {
      const id = idOf(ref);
      for (let isFirst = true; ; isFirst = false) {
        const entry = find(id);
        if (entry && isFirst) hits += 1;
        if (entry) return work(entry.key);
        await loadOnce(ref, id);
      }
    },
    get(ref) {
      const entry = find(idOf(ref));
      if (!entry) throw new DekNotLoaded(ref);
      hits += 1;
      return entry.key;
    },
    async load(ref) {
      const id = idOf(ref);
      // Another request may have loaded it already. A second copy would replace the first, which would then never be
      // overwritten.
      if (!find(id)) await loadOnce(ref, id);
    },
    sweep() {
      for (const [id, entry] of entries) {
        if (entry.until > clock()) continue;
        entries.delete(id);
        entry.key.destroy();
      }
    },
    forget: (vaultId) => forget(`${vaultId}:`),
    clear: () => forget(''),
    figures: () => ({ hits, misses, kept: entries.size }),
  };
}

function idOf({ vaultId, dekVersion }: DekRef): string {
  return `${vaultId}:${dekVersion}`;
}
