import { MINUTE_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import type { Logger } from '@cardea/process/logger';
import type { Exchange, ServerContext } from './exchange.ts';

/** Records a refusal. Returns what is answered: another error, if the log does not take the record. */
export async function recorded(ctx: ServerContext, exchange: Exchange, error: AppError): Promise<AppError> {
  const { req, requestId, route, caller, params = {}, body } = exchange;
  try {
    await ctx.recordRefusal({
      caller: caller ?? ctx.stranger(req, requestId),
      action: route?.endpoint.action ?? 'request.refuse',
      params,
      body,
      error,
    });
    return error;
  } catch (cause) {
    const isFull = cause instanceof AppError && cause.rule === 'disk-full';
    if (isFull) logFullDisk(ctx, cause);
    else logFailure(ctx, exchange, cause);
    if (isFull && error.code !== 'unavailable') return cause;
    if (error.code === 'unavailable') return error;
    return new AppError('unavailable', 'the audit log does not answer', { cause });
  }
}

const fullDiskToldAt = new WeakMap<Logger, number>();

/** Tells the operator once a minute that a disk is full: a line for each request would take what room is left. */
export function logFullDisk({ logger }: ServerContext, { message }: AppError): void {
  const now = performance.now();
  if (now - (fullDiskToldAt.get(logger) ?? -Infinity) < MINUTE_MS) return;
  fullDiskToldAt.set(logger, now);
  logger.error(`requests are refused with 503: ${message}: make room on it`);
}

/** Tells the operator why a request failed. */
export function logFailure(ctx: ServerContext, exchange: Exchange, error: unknown): void {
  ctx.logger.error('request failed', {
    requestId: exchange.requestId,
    method: exchange.req.method,
    route: exchange.route?.endpoint.path,
    error,
  });
}
