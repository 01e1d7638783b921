import type { AuditLog } from '@cardea/contracts/audited';
import { AppError } from '@cardea/contracts/errors';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { Keks } from '@cardea/contracts/keks';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import { EnvelopeKey } from '@cardea/crypto/envelope';
import type { Queryable } from '@cardea/storage/db';
import type { DekCache } from '../context.ts';
import { largestShare } from '../largest-share.ts';
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
  steadyMs: SteadyClock;
}

interface Entry {
  key: EnvelopeKey;
  /** By `steadyMs`. */
  until: number;
  /** Whose share of the cache it takes. Undefined for Cardea itself. */
  by: string | undefined;
}

interface Loading {
  entry: Promise<Entry>;
  by: string | undefined;
}

export function createDekCache({ db, keks, audit, steadyMs }: World): DekCache {
  // In the order of last use: the first entry is evicted first.
  const entries = new Map<string, Entry>();
  const loading = new Map<string, Loading>();
  let hits = 0;
  let misses = 0;

  // A caller that gets a key opens something with it, so the audit log must be able to take the record.
  function find(id: string): Entry | undefined {
    audit.admit();
    const entry = entries.get(id);
    if (!entry) return undefined;
    entries.delete(id);
    if (entry.until > steadyMs()) {
      entries.set(id, entry);
      return entry;
    }
    entry.key.destroy();
    return undefined;
  }

  async function load(ref: DekRef, id: string, by: string | undefined): Promise<Entry> {
    const wrapped = await findWrappedDek(db, ref);
    if (!wrapped) throw await missingDek(db, ref);
    const bytes = await keks.unwrap(ref, wrapped, by);
    const entry = { key: new EnvelopeKey(ref.dekVersion, bytes), until: steadyMs() + KEPT_MS, by };
    bytes.fill(0);
    entries.set(id, entry);
    evict();
    return entry;
  }

  // A caller who uses many vaults loses its own keys first (I9): the key goes that the largest share has not used for the
  // longest time.
  function evict(): void {
    if (entries.size <= DEKS_MAX) return;
    sweep();
    while (entries.size > DEKS_MAX) {
      const most = largestShare(entries.values());
      const [id, entry] = [...entries].find(([, { by }]) => by === most)!;
      entries.delete(id);
      entry.key.destroy();
    }
  }

  function sweep(): void {
    for (const [id, entry] of entries) {
      if (entry.until > steadyMs()) continue;
      entries.delete(id);
      entry.key.destroy();
    }
  }

  // Concurrent requests for a missing DEK share one call to the key service. If it was refused because of another
  // caller, who may have used up their share, this one asks again.
  function loadOnce(ref: DekRef, id: string, by: string | undefined): Promise<Entry> {
    misses += 1;
    const underWay = loading.get(id);
    if (underWay) {
      if (underWay.by === by) return underWay.entry;
      return underWay.entry.catch((error: unknown) => {
        if (error instanceof AppError && error.code === 'rate_limited') return loadOnce(ref, id, by);
        throw error;
      });
    }
    const entry = load(ref, id, by).finally(() => loading.delete(id));
    loading.set(id, { entry, by });
    return entry;
  }

  /** Overwrites the keys whose ids begin so, and those that are being unwrapped now once they are. */
  function forget(prefix: string): void {
    drop(prefix);
    for (const [id, { entry }] of loading) {
      // The caller that waits for the key gets the failure. There is no key to drop then.
      if (id.startsWith(prefix)) entry.then(() => drop(prefix)).catch(() => undefined);
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
    async use(ref, work, by) {
      const id = idOf(ref);
      for (let isFirst = true; ; isFirst = false) {
        const entry = find(id);
        if (entry && isFirst) hits += 1;
        if (entry) return work(entry.key);
        await loadOnce(ref, id, by);
      }
    },
    get(ref) {
      const entry = find(idOf(ref));
      if (!entry) throw new DekNotLoaded(ref);
      hits += 1;
      return entry.key;
    },
    async load(ref, by) {
      const id = idOf(ref);
      // Another request may have loaded it already. A second copy would replace the first, which would then never be
      // overwritten.
      if (!find(id)) await loadOnce(ref, id, by);
    },
    sweep,
    forget: (vaultId) => forget(`${vaultId}:`),
    clear: () => forget(''),
    figures: () => ({ hits, misses, kept: entries.size }),
  };
}

function idOf({ vaultId, dekVersion }: DekRef): string {
  return `${vaultId}:${dekVersion}`;
}
