import type { AppError, ErrorCode, OauthError } from '@cardea/contracts/errors';

const problems: Record<ErrorCode, { status: number; title: string }> = {
  invalid_request: { status: 400, title: 'The request is not valid' },
  unauthenticated: { status: 401, title: 'Authentication is required' },
  access_denied: { status: 403, title: 'Not allowed' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  conflict: { status: 409, title: 'Conflict' },
  gone: { status: 410, title: 'Gone' },
  precondition_failed: { status: 412, title: 'Precondition failed' },
  too_large: { status: 413, title: 'Too large' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  rate_limited: { status: 429, title: 'Too many requests' },
  internal: { status: 500, title: 'Internal error' },
  unavailable: { status: 503, title: 'Unavailable' },
  sealed: { status: 503, title: 'Sealed' },
};

/** An error as RFC 9457 problem details. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  requestId: string;
  errors?: { path: string; message: string }[];
  /** At a token endpoint: the name of the error in OAuth 2.0. */
  error?: OauthError;
}

export function toProblem(error: AppError, requestId: string, oauthError?: OauthError): Problem {
  const { status, title } = problems[error.code];
  return {
    type: `urn:cardea:error:${error.code}`,
    title,
    status: error.status ?? status,
    detail: error.code === 'internal' ? 'internal error' : error.message,
    code: error.code,
    requestId,
    ...(error.errors ? { errors: error.errors } : {}),
    ...(oauthError ? { error: oauthError } : {}),
  };
}

/** Seconds after which a client may try again; undefined if trying again does not help. */
export function retryAfterSeconds(error: AppError): number | undefined {
  if (error.retryAfterSeconds !== undefined) return error.retryAfterSeconds;
  return ['rate_limited', 'unavailable', 'sealed'].includes(error.code) ? 1 : undefined;
}
