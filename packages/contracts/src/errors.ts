import type { AuditActor, AuditResource } from './audit-event.ts';
import type { AuditRule } from './audit-rules.ts';
import type { SuspiciousRule } from './suspicious.ts';

/** The closed set of error codes a client may see (RFC 9457 problem details carry one as `code`). */
export const errorCodes = [
  'invalid_request',
  'unauthenticated',
  'access_denied',
  'not_found',
  'method_not_allowed',
  'conflict',
  'gone',
  'precondition_failed',
  'too_large',
  'unsupported_media_type',
  'rate_limited',
  'internal',
  'unavailable',
  'sealed',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** One field of the request that is wrong, as a JSON path and a sentence. Never repeats the value. */
export interface FieldError {
  path: string;
  message: string;
}

export interface AppErrorOptions extends ErrorOptions {
  errors?: FieldError[];
  /** The rule that refused, for the audit record: the client does not see it. */
  rule?: AuditRule;
  /** Which rule of suspicious input was tripped, for the audit record. */
  suspicious?: SuspiciousRule;
  /**
   * Who was refused, where that is known though they may not act as that somebody: by a token of a session that has
   * ended, say. For the audit record: the client does not see it.
   */
  actor?: AuditActor;
  /** What it was about, where only who refuses knows it. For the audit record: the client does not see it. */
  resource?: AuditResource;
  retryAfterSeconds?: number;
}

/** An error a client may see. Anything else that is thrown is internal and stays inside. */
export class AppError extends Error {
  override name = 'AppError';
  readonly code: ErrorCode;
  readonly errors: FieldError[] | undefined;
  readonly rule: AuditRule | undefined;
  readonly suspicious: SuspiciousRule | undefined;
  readonly actor: AuditActor | undefined;
  readonly resource: AuditResource | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.errors = options.errors;
    this.rule = options.rule;
    this.suspicious = options.suspicious;
    this.actor = options.actor;
    this.resource = options.resource;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}
