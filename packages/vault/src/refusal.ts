import type { AuditResource } from '@cardea/contracts/audit-event';
import type { Caller } from '@cardea/contracts/caller';
import type { AppError } from '@cardea/contracts/errors';
import type { VaultContext } from './context.ts';
import { eventOf } from './record.ts';

/** Parameters of a path, and where a record names them. */
const resourceFields = { vault: 'vault', name: 'name', username: 'user', principal: 'name', id: 'name' } as const;

/** Records that a request was refused, whoever refused it and for whatever reason. Resolves once that is durable. */
export async function recordRefusal(
  ctx: Pick<VaultContext, 'audit' | 'now'>,
  refusal: { caller: Caller; action: string; params: Record<string, string>; error: AppError },
): Promise<void> {
  const { caller, action, params, error } = refusal;
  const { rule, suspicious } = error;
  const resource: AuditResource = {};
  for (const [param, field] of Object.entries(resourceFields)) {
    if (params[param]) resource[field] = params[param].slice(0, 512);
  }
  await ctx.audit.append(
    eventOf(ctx, caller, {
      action,
      decision: 'deny',
      reason: error.code,
      ...(Object.keys(resource).length > 0 ? { resource } : {}),
      ...(rule === undefined ? {} : { rule }),
      ...(suspicious === undefined ? {} : { suspicious }),
    }),
  );
}
