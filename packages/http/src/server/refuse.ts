import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { BASIC_CHALLENGE, oauthErrorOf } from './oauth.ts';
import { retryAfterSeconds, toProblem } from './problem.ts';
import type { Exchange, ServerContext } from './exchange.ts';
import { logFailure, logFullDisk, recorded } from './recorded.ts';
import { observe, send } from './send.ts';

/** The one place where an error becomes an answer. The error is recorded first; if that fails, the answer is 503. */
export async function refuse(ctx: ServerContext, exchange: Exchange, thrown: unknown): Promise<void> {
  const { req, res } = exchange;
  let error = toAppError(ctx, exchange, thrown);
  if (!exchange.route) error = refusalOfStranger(ctx, ctx.stranger(req, exchange.requestId), error);
  // Between services, the calling service records what `unavailable` meant for its own caller.
  const recordedElsewhere = error.code === 'unavailable' && exchange.route?.endpoint.auth === 'peer';
  if (!recordedElsewhere) error = await recorded(ctx, exchange, error);
  ctx.metrics.refusals.inc({ code: error.code });
  if (error.suspicious !== undefined) ctx.metrics.suspicious.inc({ rule: error.suspicious });
  if (res.headersSent) {
    res.destroy();
    return;
  }
  const isOauth = exchange.route?.endpoint.oauth === true;
  const problem = toProblem(error, exchange.requestId, isOauth ? oauthErrorOf(error) : undefined);
  const headers: Record<string, string | number> = { ...exchange.headers };
  const retryAfter = retryAfterSeconds(error);
  if (retryAfter !== undefined) headers['Retry-After'] = retryAfter;
  if (error.code === 'unauthenticated') headers['WWW-Authenticate'] = isOauth ? BASIC_CHALLENGE : 'Bearer';
  // The unread rest of a body would be taken for the next request.
  if (!req.complete) headers['Connection'] = 'close';
  const payload = { text: JSON.stringify(problem), contentType: 'application/problem+json' };
  send(ctx, exchange, problem.status, headers, payload);
  observe(ctx, exchange);
}

/**
 * Why a request is refused that reaches no route, so that nothing asks who sent it: an address from which too many
 * requests were refused hears no more than that. Every such refusal goes through here.
 */
export function refusalOfStranger(ctx: ServerContext, stranger: Caller, error: AppError): AppError {
  if (error.code === 'rate_limited') return error;
  try {
    ctx.admitStranger?.(stranger);
    return error;
  } catch (dropped) {
    if (dropped instanceof AppError) return dropped;
    throw dropped;
  }
}

function toAppError(ctx: ServerContext, exchange: Exchange, thrown: unknown): AppError {
  if (thrown instanceof AppError) {
    if (thrown.rule === 'disk-full') logFullDisk(ctx, thrown);
    else if (thrown.code === 'internal' || thrown.code === 'unavailable') logFailure(ctx, exchange, thrown);
    return thrown;
  }
  const translated = ctx.translate(thrown);
  if (translated?.rule === 'disk-full') logFullDisk(ctx, translated);
  else logFailure(ctx, exchange, thrown);
  return translated ?? new AppError('internal', 'internal error', { cause: thrown });
}
