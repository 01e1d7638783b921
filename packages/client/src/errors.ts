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
  if (problem) return new CardeaError(problem.code, problem.detail, options);
  const code = status === 429 ? 'rate_limited' : 'unavailable';
  return new CardeaError(code, `the answer is ${status}, and not Cardea's`, options);
}

interface Problem {
  code: ErrorCode;
  detail: string;
  requestId?: string;
  errors?: FieldError[];
}

function readProblem(contentType: string | null, text: string): Problem | undefined {
  if (contentType?.startsWith('application/problem+json') !== true) return undefined;
  const problem = JSON.parse(text) as Partial<Problem>;
  return typeof problem.code === 'string' && typeof problem.detail === 'string' ? (problem as Problem) : undefined;
}
