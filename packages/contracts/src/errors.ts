import type { AuditActor, AuditResource } from './audit-event.ts';
import type { AuditRule } from './audit-rules.ts';
import type { SuspiciousRule } from './suspicious.ts';

/** All error codes that a client may see, as the `code` of problem details (RFC 9457). */
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

/** How a token endpoint names an error in its member `error` (RFC 6749 section 5.2). */
export const oauthErrors = ['invalid_request', 'invalid_client', 'unsupported_grant_type'] as const;

export type OauthError = (typeof oauthErrors)[number];

/** A wrong field of the request: its JSON path, and what is wrong. Never repeats the value. */
export interface FieldError {
  path: string;
  message: string;
}

export interface AppErrorOptions extends ErrorOptions {
  errors?: FieldError[];
  /** The rule that refused. Only the audit record has it, the client does not see it. */
  rule?: AuditRule;
  /** The rule of suspicious input that was tripped. Only for the audit record. */
  suspicious?: SuspiciousRule;
  /**
   * The account that was refused, if it is known although the caller may not act as it: for example, by a token of an
   * ended session. Only for the audit record.
   */
  actor?: AuditActor;
  /** The resource of the request, if the request itself does not name it. Only for the audit record. */
  resource?: AuditResource;
  retryAfterSeconds?: number;
  /** A status that says more than that of the code. For what HTTP itself refuses: 408, 431, 501, 505. Between services, 507 for a full disk. */
  status?: number;
  /** The name of this error at a token endpoint, if the code does not decide it. */
  oauthError?: OauthError;
}

/** An error that a client may see. A client never sees the message of any other error. */
export class AppError extends Error {
  override name = 'AppError';
  readonly code: ErrorCode;
  readonly errors: FieldError[] | undefined;
  readonly rule: AuditRule | undefined;
  readonly suspicious: SuspiciousRule | undefined;
  readonly actor: AuditActor | undefined;
  readonly resource: AuditResource | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly status: number | undefined;
  readonly oauthError: OauthError | undefined;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.errors = options.errors;
    this.rule = options.rule;
    this.suspicious = options.suspicious;
    this.actor = options.actor;
    this.resource = options.resource;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.status = options.status;
    this.oauthError = options.oauthError;
  }
}
