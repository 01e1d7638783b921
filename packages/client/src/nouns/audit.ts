import type * as audit from '@cardea/contracts/audit-log';
import { call } from '../call.ts';
import type { QueryOf } from '../call.ts';
import { listOf } from '../pages.ts';
import type { ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';
import type { CallOptions } from '../transport.ts';

const calls = {
  entries: call<typeof audit.listAuditEntries>('GET', '/audit/entries'),
  checkpoint: { ...call<typeof audit.readAuditCheckpoint>('GET', '/audit/checkpoint'), isText: true },
  proveInclusion: call<typeof audit.proveAuditInclusion>('GET', '/audit/proofs/inclusion'),
  proveConsistency: call<typeof audit.proveAuditConsistency>('GET', '/audit/proofs/consistency'),
  proveReceipt: { ...call<typeof audit.proveAuditReceipt>('GET', '/audit/proofs/receipt'), isText: true },
  export: call<typeof audit.exportAuditLog>('GET', '/audit/export'),
  state: call<typeof audit.exportAuditedState>('GET', '/audit/state'),
};

type Filters = Omit<QueryOf<typeof audit.listAuditEntries>, 'limit' | 'cursor' | 'order' | 'after' | 'waitSeconds'>;

/** How long the server waits for an entry, and how long its answer may take then. */
const WAIT_SECONDS = 30;
const FOLLOW_MS = 60_000;

/** The audit log. Admins and ceos read all of it, owners the entries of their vaults. Everybody may turn a receipt into a proof. */
export function auditCalls(sender: Sender) {
  return {
    /** The entries, the newest first. */
    entries({ limit, cursor, signal, timeoutMs, ...query }: Filters & ListOptions = {}) {
      return listOf(sender, calls.entries, { query }, { limit, cursor, signal, timeoutMs });
    },

    /**
     * Gives the entries after the one numbered `after`, the oldest first, and each later one soon after it is written,
     * until `signal` ends it. Without `after`, what comes from now on.
     */
    async *follow({ after, signal, timeoutMs = FOLLOW_MS, ...query }: Filters & CallOptions & { after?: number } = {}) {
      // A log that has nothing like it yet is followed from its beginning.
      let known = after ?? (await newestSeq(sender, query, { signal, timeoutMs })) ?? 0;
      for (;;) {
        const next = { ...query, after: known, waitSeconds: WAIT_SECONDS, limit: 500 };
        const { items, nextAfter } = await sender.body(calls.entries, { query: next }, { signal, timeoutMs });
        yield* items;
        known = nextAfter ?? known;
      }
    },

    /** The newest signed checkpoint (C2SP tlog-checkpoint), as text. */
    checkpoint: (options?: CallOptions) => sender.body(calls.checkpoint, {}, options),

    /** Proves that an entry is in the log of `size` entries, or in that of the newest checkpoint (RFC 6962). */
    proveInclusion: (query: { seq: number; size?: number }, options?: CallOptions) =>
      sender.body(calls.proveInclusion, { query }, options),

    /** Proves that the log of `to` entries, or that of the newest checkpoint, begins with the log of `from` entries. */
    proveConsistency: (query: { from: number; to?: number }, options?: CallOptions) =>
      sender.body(calls.proveConsistency, { query }, options),

    /** A proof that stands alone (C2SP tlog-proof), as text, from what an answer says in `Cardea-Receipt`. */
    proveReceipt: (receipt: { seq: number; leaf: string }, options?: CallOptions) =>
      sender.body(calls.proveReceipt, { query: receipt }, options),

    /** A tar with the exact bytes of the entries, a checkpoint and a manifest. Times, or numbers of entries. */
    export: ({ from, to, fromSeq, toSeq, ...options }: CallOptions & QueryOf<typeof audit.exportAuditLog> = {}) =>
      sender.stream(calls.export, { query: { from, to, fromSeq, toSeq } }, options),

    /** What the database says of accounts, vaults, grants, secrets and keys, as lines of JSON for the verifier. */
    state: (options?: CallOptions) => sender.stream(calls.state, {}, options),
  };
}

async function newestSeq(sender: Sender, query: Filters, options: CallOptions): Promise<number | undefined> {
  const newest = listOf(sender, calls.entries, { query }, { limit: 1, ...options });
  for await (const { seq } of newest) return seq;
  return undefined;
}
