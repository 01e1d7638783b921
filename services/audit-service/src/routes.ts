import { appendEvents, exportEntries, listEntries, readCheckpoint } from '@cardea/contracts/audit-api';
import { plainRoute, rawRoute } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { AuditContext } from './context.ts';
import { listEntries as findEntries } from './read/entries.ts';
import { exportLog } from './read/export.ts';
import { refuseForeignActions } from './append/foreign-actions.ts';
import { parseAppend } from './append/parse-append.ts';

/** 256 events of 15 KiB, and the text around them. */
const APPEND_BYTES_MAX = 4 * 1024 * 1024;

/** The routes of audit-service. */
export function auditRoutes(ctx: AuditContext): Route[] {
  return [
    rawRoute(
      appendEvents,
      async ({ caller, body }) => {
        const { events } = parseAppend(body);
        refuseForeignActions(caller.actor.id, events);
        const appended = await ctx.pool.append(events, caller.actor.id);
        ctx.metrics.appendedEvents.inc(appended.items.length);
        return { body: appended };
      },
      { bodyBytesMax: APPEND_BYTES_MAX },
    ),
    plainRoute(listEntries, async ({ query }) => ({ body: await findEntries(ctx.db, query) })),
    plainRoute(readCheckpoint, async () => ({
      text: ctx.signer.newest().note,
      contentType: 'text/plain; charset=utf-8',
    })),
    plainRoute(exportEntries, async ({ query }) => ({
      stream: await exportLog(ctx, query),
      contentType: 'application/x-tar',
    })),
  ];
}
