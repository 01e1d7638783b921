import { MINUTE_MS } from '@cardea/contracts/durations';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import type { KeyMaterial } from '@cardea/crypto/keys/key-material';
import type { KeyMaterials } from '../context.ts';
import { largestShare } from '../largest-share.ts';

const MATERIALS_MAX = 1_024;
const KEPT_MS = 5 * MINUTE_MS;

interface Entry {
  vaultId: string;
  ciphertext: Uint8Array;
  material: KeyMaterial;
  /** By `steadyMs`. */
  until: number;
  /** Whose share of the memory it takes. Undefined for Cardea itself. */
  by: string | undefined;
}

/** See `KeyMaterials`. */
export function createKeyMaterials({ steadyMs }: { steadyMs: SteadyClock }): KeyMaterials {
  // In the order of last use: the first entry is evicted first.
  const entries = new Map<string, Entry>();
  // Counts what has been dropped, so that material which was being opened meanwhile is not kept.
  let drops = 0;

  function dropWhere(isGone: (entry: Entry) => boolean): void {
    drops += 1;
    for (const [context, entry] of entries) if (isGone(entry)) entries.delete(context);
  }

  // As in the cache of DEKs: a caller who uses many keys loses its own first (I9).
  function evict(): void {
    if (entries.size <= MATERIALS_MAX) return;
    const most = largestShare(entries.values());
    const [id] = [...entries].find(([, { by }]) => by === most)!;
    entries.delete(id);
  }

  return {
    async use({ vaultId, context, ciphertext }, open, by) {
      const id = Buffer.from(context).toString('latin1');
      const kept = entries.get(id);
      entries.delete(id);
      if (kept && kept.until > steadyMs() && Buffer.compare(kept.ciphertext, ciphertext) === 0) {
        entries.set(id, kept);
        return kept.material;
      }
      const before = drops;
      const material = await open();
      if (before !== drops) return material;
      entries.set(id, { vaultId, ciphertext, material, until: steadyMs() + KEPT_MS, by });
      evict();
      return material;
    },
    sweep: () => {
      const now = steadyMs();
      for (const [id, { until }] of entries) if (until <= now) entries.delete(id);
    },
    forget: (vaultId) => dropWhere((entry) => entry.vaultId === vaultId),
    clear: () => dropWhere(() => true),
  };
}
