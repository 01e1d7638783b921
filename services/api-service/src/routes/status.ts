import { listEntries, readCheckpoint } from '@cardea/contracts/audit-api';
import { sealStatus } from '@cardea/contracts/seal-api';
import { readStatus as contract } from '@cardea/contracts/status';
import type { Client } from '@cardea/http/client/peer-client';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import { readStatus } from '@cardea/vault/status/status';
import type { StatusSources } from '@cardea/vault/status/status';
import type { ApiContext } from '../context.ts';

export function statusRoutes(ctx: Pick<ApiContext, 'vault' | 'queue' | 'kekService' | 'proofs'>): Route[] {
  const { vault, queue, kekService, proofs } = ctx;
  const sources: StatusSources = {
    queue,
    isSealed: async () => (await kekService.call(sealStatus, {})).sealed,
    auditHead: () => auditHead(proofs),
  };
  return [
    route(contract, async ({ caller }) => {
      const status = await readStatus(vault, caller, sources);
      return status.map((body) => ({ body }));
    }),
  ];
}

async function auditHead(auditService: Client) {
  const note = await auditService.text(readCheckpoint.path);
  // C2SP tlog-checkpoint: the origin, the size, the root.
  const signed = Number(note.split('\n')[1]);
  const newest = await entryBefore(auditService);
  const entries = newest === undefined ? 0 : newest.seq + 1;
  const first = signed < entries ? await entryBefore(auditService, signed + 1) : undefined;
  return { entries, signed, unsignedSince: first && new Date(first.writtenAt) };
}

/** The newest entry, or the newest before a position. */
async function entryBefore(auditService: Client, position?: number) {
  const query = { limit: 1, ...(position === undefined ? {} : { cursor: String(position) }) };
  const { items } = await auditService.call(listEntries, { query });
  return items[0];
}
