import { Readable } from 'node:stream';
import {
  WAIT_SECONDS_MAX,
  exportEntries,
  listEntries,
  proveConsistency,
  proveInclusion,
  proveReceipt,
  readCheckpoint,
} from '@cardea/contracts/audit-api';
import type { EntryPage, EntryQuery, InternalEntryQuery, RefusedQuestion } from '@cardea/contracts/audit-api';
import {
  exportAuditLog,
  exportAuditedState,
  listAuditEntries,
  proveAuditConsistency,
  proveAuditInclusion,
  proveAuditReceipt,
  readAuditCheckpoint,
} from '@cardea/contracts/audit-log';
import { Audited } from '@cardea/contracts/audited';
import { callerKey } from '@cardea/contracts/caller-key';
import type { Caller } from '@cardea/contracts/caller';
import { SECOND_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import type { Client } from '@cardea/http/client/peer-client';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { Queryable } from '@cardea/storage/db';
import { Turns } from '@cardea/storage/turns';
import { createShares } from '@cardea/http/server/shares';
import { authorizeLog } from '@cardea/vault/audit-rights';
import { authorizeSystem } from '@cardea/vault/authorize';
import { confirmGround } from '@cardea/vault/confirm-rights';
import type { VaultContext } from '@cardea/vault/context';
import { isAccount, isVault } from '@cardea/vault/known-names';
import { audited } from '@cardea/vault/record';
import { listRecordedState } from '@cardea/vault/recorded-state';
import { noteWait } from '@cardea/vault/right';
import { EXPORTS_MAX, FOLLOWERS_MAX, PROOFS_MAX, QUESTIONS_MAX } from '../context.ts';

interface AuditClients {
  questions: Client;
  proofs: Client;
  exports: Client;
  followers: Client;
  /** Ends all waits when the service stops. */
  stopping: AbortSignal;
}

const TEXT_TYPE = 'text/plain; charset=utf-8';

/** How much longer than its wait a call may take. */
const ANSWER_MS = 5 * SECOND_MS;

// A question keeps audit-service from appending for some milliseconds, again and again. So a caller has one at a time.
const ASKED = { waitingMax: 128, ownWaitingMax: 32, waitMs: 15 * SECOND_MS };

/**
 * The audit log for admins and ceos, and for the owners of a vault what happened in it. audit-service knows only
 * services, so the right of the caller is checked here: before the question, and by `audited` once the answer is there, if
 * audit-service took its time (I8).
 */
export function auditRoutes(ctx: VaultContext, clients: AuditClients): Route[] {
  const { questions, proofs, exports, followers, stopping } = clients;
  const questionTurns = new Turns({
    ...ASKED,
    atOnce: QUESTIONS_MAX,
    refuse: tooMany('questions about the audit log'),
  });
  const proofTurns = new Turns({ ...ASKED, atOnce: PROOFS_MAX, ownAtOnce: 2, refuse: tooMany('proofs') });
  const exportsAtOnce = createShares({ each: 1, together: EXPORTS_MAX, what: 'exports of the audit log' });
  const waitsAtOnce = createShares({ each: 4, together: FOLLOWERS_MAX, what: 'waits for the audit log' });

  async function listWaiting(caller: Caller, query: EntryQuery): Promise<Audited<{ body: EntryPage }>> {
    const hold = waitsAtOnce.hold(callerKey(caller));
    hold.take(1);
    try {
      return await list(caller, query, (asked) => ask(ctx, followers, asked, stopping));
    } finally {
      hold.release();
    }
  }

  function listNow(caller: Caller, query: EntryQuery): Promise<Audited<{ body: EntryPage }>> {
    return list(caller, query, (asked) =>
      questionTurns.take(() => ask(ctx, questions, asked, stopping), callerKey(caller)),
    );
  }

  async function list(
    caller: Caller,
    query: EntryQuery,
    answerTo: (asked: InternalEntryQuery) => Promise<EntryPage>,
  ): Promise<Audited<{ body: EntryPage }>> {
    const right = await authorizeLog(ctx, caller, query.vault);
    const { rule, vault } = right;
    const asked = vault ? { ...query, vault: undefined, vaultId: vault.id } : query;
    const resource = vault ? { resource: { vault: vault.name, vaultId: vault.id } } : {};
    noteWait(caller);
    // Before the record: a question without an answer is refused, and shows nothing.
    const body = await answerTo(asked).catch(async (cause: unknown) => {
      if (!stopping.aborted) throw cause;
      await confirmGround(ctx, caller, [right]);
      throw new AppError('unavailable', 'this service stops: ask again', { cause });
    });
    return audited(ctx, caller, [right], { action: 'audit.read', rule, ...resource }, () => ({ body }));
  }

  function prove<T>(caller: Caller, work: () => Promise<T>): Promise<T> {
    noteWait(caller);
    return proofTurns.take(work, callerKey(caller));
  }

  return [
    route(listAuditEntries, ({ caller, query }) =>
      query.waitSeconds === undefined ? listNow(caller, query) : listWaiting(caller, query),
    ),

    route(proveAuditInclusion, async ({ caller, query }) => {
      const right = authorizeSystem(ctx, caller, 'audit.read');
      const body = proofOf(await prove(caller, () => proofs.call(proveInclusion, { query })));
      return audited(ctx, caller, [right], { action: 'audit.read', rule: right.rule }, () => ({ body }));
    }),

    route(proveAuditConsistency, async ({ caller, query }) => {
      const right = authorizeSystem(ctx, caller, 'audit.read');
      const body = proofOf(await prove(caller, () => proofs.call(proveConsistency, { query })));
      return audited(ctx, caller, [right], { action: 'audit.read', rule: right.rule }, () => ({ body }));
    }),

    route(proveAuditReceipt, async ({ caller, query }) => {
      const { proof: text, refused } = await prove(caller, () => proofs.call(proveReceipt, { query }));
      // Whoever does not have the receipt of an entry learns nothing about it.
      if (text === undefined)
        throw new AppError('not_found', refused?.message ?? 'there is no such receipt', { rule: 'default-deny' });
      const facts = { action: 'audit.read', rule: 'signed-in' } as const;
      return audited(ctx, caller, 'signed-in', facts, () => ({ text, contentType: TEXT_TYPE }));
    }),

    route(readAuditCheckpoint, async ({ caller }) => {
      const right = authorizeSystem(ctx, caller, 'audit.read');
      const text = await prove(caller, () => proofs.text(readCheckpoint.path));
      return audited(ctx, caller, [right], { action: 'audit.read', rule: right.rule }, () => ({
        text,
        contentType: TEXT_TYPE,
      }));
    }),

    route(
      exportAuditLog,
      async ({ caller, query }) => {
        const right = authorizeSystem(ctx, caller, 'audit.export');
        noteWait(caller);
        const stream = await exports.stream(exportEntries.path, query);
        const reply = { stream, contentType: 'application/x-tar' };
        try {
          return await audited(ctx, caller, [right], { action: 'audit.export', rule: right.rule }, () => reply);
        } catch (error) {
          stream.destroy();
          throw error;
        }
      },
      { atOnce: exportsAtOnce, mayBegin: async ({ caller }) => authorizeSystem(ctx, caller, 'audit.export') },
    ),

    route(
      exportAuditedState,
      async ({ caller }) => {
        const right = authorizeSystem(ctx, caller, 'audit.export');
        const facts = { action: 'audit.export', rule: right.rule, resource: { name: 'state' } } as const;
        const { receipt } = await audited(ctx, caller, [right], facts, () => undefined);
        // Read after the record: what the log says before it has happened, so the database must show it.
        const lines = listRecordedState(ctx, { seq: receipt.seq, by: callerKey(caller) });
        return new Audited(receipt, { stream: Readable.from(lines), contentType: TEXT_TYPE });
      },
      { atOnce: exportsAtOnce, mayBegin: async ({ caller }) => authorizeSystem(ctx, caller, 'audit.export') },
    ),
  ];
}

function tooMany(what: string) {
  return (isOwn: boolean) => {
    const message = `${isOwn ? 'you have' : 'all callers together have'} too many ${what} under way: repeat the call`;
    return new AppError('rate_limited', message, { rule: 'under-way', retryAfterSeconds: 2 });
  };
}

/** @throws AppError `invalid_request` for a question that has no answer */
async function ask(
  { db }: VaultContext,
  client: Client,
  query: InternalEntryQuery,
  stopping: AbortSignal,
): Promise<EntryPage> {
  const timeoutMs = Math.min(query.waitSeconds ?? 0, WAIT_SECONDS_MAX) * SECOND_MS + ANSWER_MS;
  const signal = query.waitSeconds === undefined ? {} : { signal: stopping };
  const { refused, ...page } = await client.call(listEntries, { query, timeoutMs, ...signal });
  if (!refused) return page;
  if (refused.unknown && (await isNew(db, refused.parameter, query))) return { items: [], nextAfter: query.after };
  throw withoutAnswer(refused);
}

/** @throws AppError `invalid_request` if there is no such proof */
function proofOf<T>({ proof, refused }: { proof?: T | undefined; refused?: RefusedQuestion | undefined }): T {
  if (refused) throw withoutAnswer(refused);
  if (proof === undefined) throw new Error('audit-service answered neither a proof nor a reason');
  return proof;
}

function withoutAnswer({ parameter, message }: RefusedQuestion): AppError {
  const path = `query.${parameter}`;
  return new AppError('invalid_request', `${path}: ${message}`, { errors: [{ path, message }] });
}

/** Whether the log does not know a vault or an account only because nothing about it is recorded yet. */
async function isNew(db: Queryable, parameter: string, { vault, actor }: InternalEntryQuery): Promise<boolean> {
  if (parameter === 'vault' && vault !== undefined) return isVault(db, vault);
  return parameter === 'actor' && actor !== undefined && isAccount(db, actor);
}
