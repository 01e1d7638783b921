import { exportEntries, listEntries, readCheckpoint } from '@cardea/contracts/audit-api';
import { exportAuditLog, listAuditEntries, readAuditCheckpoint } from '@cardea/contracts/audit-log';
import type { Client } from '@cardea/http/client/peer-client';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import { authorizeSystem } from '@cardea/vault/authorize';
import type { VaultContext } from '@cardea/vault/context';
import { audited } from '@cardea/vault/record';

/** The audit log for admins and ceos. audit-service knows only services, so the right of the caller is checked here. */
export function auditRoutes(ctx: VaultContext, auditService: Client, exports: Client): Route[] {
  return [
    route(listAuditEntries, async ({ caller, query }) => {
      const { rule } = authorizeSystem(caller, 'audit.read');
      return audited(ctx, caller, { action: 'audit.read', rule }, async () => ({
        body: await auditService.call(listEntries, { query }),
      }));
    }),

    route(readAuditCheckpoint, async ({ caller }) => {
      const { rule } = authorizeSystem(caller, 'audit.read');
      const text = await auditService.text(readCheckpoint.path);
      return audited(ctx, caller, { action: 'audit.read', rule }, () => ({
        text,
        contentType: 'text/plain; charset=utf-8',
      }));
    }),

    route(exportAuditLog, async ({ caller, query }) => {
      const { rule } = authorizeSystem(caller, 'audit.export');
      const stream = await exports.stream(exportEntries.path, query);
      const reply = { stream, contentType: 'application/x-tar' };
      return audited(ctx, caller, { action: 'audit.export', rule }, () => reply).catch((error: unknown) => {
        stream.destroy();
        throw error;
      });
    }),
  ];
}
