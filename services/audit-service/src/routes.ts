import {
  appendEvents,
  exportEntries,
  listEntries,
  proveConsistency,
  proveInclusion,
  proveReceipt,
  readCheckpoint,
} from '@cardea/contracts/audit-api';
import { plainRoute, rawRoute } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { AuditContext } from './context.ts';
import { exportLog } from './read/export.ts';
import { answerQuestion } from './read/follow.ts';
import * as proofs from './read/proofs.ts';
import { refuseForeignActions } from './append/foreign-actions.ts';
import { parseAppend } from './append/parse-append.ts';
import type { CanonicalEvent } from './append/parse-append.ts';
import type { Appended } from './append/pool.ts';

/** 256 events of 15 KiB, and the text around them. */
const APPEND_BYTES_MAX = 4 * 1024 * 1024;

/** The routes of audit-service. */
export function auditRoutes(ctx: AuditContext, stopping: AbortSignal): Route[] {
  const { log, index, readDb, signer, sinks } = ctx;
  const proving = { db: readDb, log, checkpoints: proofs.createProofCheckpoints(signer) };
  return [
    rawRoute(
      appendEvents,
      async ({ caller, body }) => {
        const { events } = parseAppend(body);
        refuseForeignActions(caller.actor.id, events);
        // A service that gets no receipt shows nothing.
        sinks.refuseIfBehind();
        return { body: await append(ctx, events, caller.actor.id) };
      },
      { bodyBytesMax: APPEND_BYTES_MAX },
    ),
    plainRoute(listEntries, async ({ query }) => ({
      body: await answerQuestion({ db: readDb, index, log, stopping }, query),
    })),
    plainRoute(proveInclusion, async ({ query }) => ({ body: await proofs.proveInclusion(proving, query) })),
    plainRoute(proveConsistency, async ({ query }) => ({ body: await proofs.proveConsistency(proving, query) })),
    plainRoute(proveReceipt, async ({ query }) => ({ body: await proofs.proveReceipt(proving, query) })),
    plainRoute(readCheckpoint, async () => {
      log.refuseIfFull();
      sinks.refuseIfBehind();
      return { text: ctx.signer.newest().note, contentType: 'text/plain; charset=utf-8' };
    }),
    plainRoute(exportEntries, async ({ query }) => ({
      stream: await exportLog({ ...ctx, db: readDb }, query),
      contentType: 'application/x-tar',
    })),
  ];
}

async function append({ pool, metrics }: AuditContext, events: CanonicalEvent[], peer: string): Promise<Appended> {
  const elapsed = metrics.appendSeconds.startTimer();
  try {
    const appended = await pool.append(events, peer);
    metrics.appendedEvents.inc(appended.items.length);
    elapsed({ outcome: 'acknowledged' });
    return appended;
  } catch (error) {
    elapsed({ outcome: 'failed' });
    throw error;
  }
}
