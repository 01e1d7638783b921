import { AppError } from '@cardea/contracts/errors';
import type { VaultContext } from './context.ts';

/** Refuses an expiry in the past: the caller made a mistake. @throws AppError `invalid_request` */
export function refusePast(ctx: Pick<VaultContext, 'now'>, expiresAt: Date | number | null | undefined): void {
  if (expiresAt === undefined || expiresAt === null) return;
  if (Number(expiresAt) <= ctx.now().getTime())
    throw new AppError('invalid_request', 'expiresAt: must be in the future');
}
