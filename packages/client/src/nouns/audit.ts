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

type Filters = Omit<QueryOf<typeof audit.listAuditEntries>, 'limit' | 'cursor' | 'after' | 'waitSeconds'>;

/** The audit log. Admins and ceos read all of it, owners the entries of their vaults. Everybody may turn a receipt into a proof. */
export function auditCalls(sender: Sender) {
  return {
    /** The entries, the newest first. */
    entries({ limit, cursor, signal, timeoutMs, ...query }: Filters & ListOptions = {}) {
      return listOf(sender, calls.entries, { query }, { limit, cursor, signal, timeoutMs });
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
