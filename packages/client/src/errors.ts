import type { ErrorCode, FieldError } from '@cardea/contracts/errors';

export interface CardeaErrorOptions extends ErrorOptions {
  status?: number | undefined;
  requestId?: string | undefined;
  retryAfterSeconds?: number | undefined;
  errors?: FieldError[] | undefined;
  mayBeDone?: boolean | undefined;
}

/**
 * Every failure of a call: an error that Cardea answered (RFC 9457), no answer in time, or input that cannot be sent. Decide
 * by `code`, never by the message. No answer, and an answer that is not Cardea's, have the code `unavailable`.
 */
export class CardeaError extends Error {
  override name = 'CardeaError';
  readonly code: ErrorCode;
  /** The status of the answer. Undefined if there was none. */
  readonly status: number | undefined;
  /** The id of the request in the records of the audit log. */
  readonly requestId: string | undefined;
  /** After how many seconds the server asks to try again. */
  readonly retryAfterSeconds: number | undefined;
  /** Which fields of the request are wrong. Never repeats their values. */
  readonly errors: readonly FieldError[];
  /** True if the call may have changed something although it failed: read before you repeat it. */
  readonly mayBeDone: boolean;

  constructor(code: ErrorCode, message: string, options: CardeaErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.status = options.status;
    this.requestId = options.requestId;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.errors = options.errors ?? [];
    this.mayBeDone = options.mayBeDone ?? false;
  }
}

/** An error of input that would not reach the server as it is meant. */
export function refused(message: string): CardeaError {
  return new CardeaError('invalid_request', message);
}

/** The error that an answer states. A proxy in front of Cardea may answer something that is not problem details. */
export async function errorOf(response: Response): Promise<CardeaError> {
  const { status, headers } = response;
  const text = await response.text();
  const problem = readProblem(headers.get('Content-Type'), text);
  const seconds = Number(headers.get('Retry-After') ?? Number.NaN);
  const options = {
    status,
    requestId: problem?.requestId ?? headers.get('X-Request-Id') ?? undefined,
    retryAfterSeconds: Number.isFinite(seconds) ? seconds : undefined,
    errors: problem?.errors,
  };
  if (problem) return new CardeaError(knownCode(problem.code, status), problem.detail, options);
  return notOfCardea(response, options);
}

const known: Record<ErrorCode, true> = {
  invalid_request: true,
  unauthenticated: true,
  access_denied: true,
  not_found: true,
  method_not_allowed: true,
  conflict: true,
  gone: true,
  precondition_failed: true,
  too_large: true,
  unsupported_media_type: true,
  rate_limited: true,
  internal: true,
  unavailable: true,
  sealed: true,
};

/** Programs decide by the code, so it is one of those that they know, whoever answered. */
function knownCode(code: string, status: number): ErrorCode {
  if (Object.hasOwn(known, code)) return code as ErrorCode;
  return status < 500 ? 'invalid_request' : 'internal';
}

/** The error for an answer of somebody in between. A page to sign in to a network has the status 200. */
export function notOfCardea({ status }: Response, options: CardeaErrorOptions = { status }): CardeaError {
  const code = status === 429 ? 'rate_limited' : 'unavailable';
  return new CardeaError(code, `the answer is ${status}, and not Cardea's`, options);
}

interface Problem {
  code: string;
  detail: string;
  requestId?: string;
  errors?: FieldError[];
}

function readProblem(contentType: string | null, text: string): Problem | undefined {
  if (contentType?.startsWith('application/problem+json') !== true) return undefined;
  const problem = JSON.parse(text) as Partial<Problem>;
  return typeof problem.code === 'string' && typeof problem.detail === 'string' ? (problem as Problem) : undefined;
}
