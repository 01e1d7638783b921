import winston from 'winston';
import { createLogOutput, writerTo } from './log-output.ts';

export type Logger = Pick<winston.Logger, 'error' | 'warn' | 'info' | 'debug'>;

/**
 * The only fields that a log line may hold. This is an allow-list, because a list of fields to hide is wrong on the day
 * somebody adds a field (CVE-2025-62513).
 */
const fields = [
  'level',
  'message',
  'time',
  'service',
  'requestId',
  'method',
  'route',
  'status',
  'durationMs',
  'code',
  'rule',
  'suspicious',
  'actorId',
  'actorType',
  'ip',
  'peer',
  'job',
  'attempt',
  'count',
  'seq',
  'size',
  'dekVersion',
  'kekVersion',
  'vaultId',
  'secretId',
  'version',
  'url',
  'path',
  'verifierKey',
] as const;

/**
 * Creates a logger that writes one JSON object per line to stdout, with the fields of the allow-list and `error` only.
 * It writes messages of `level` and above. With `none` it writes nothing.
 */
export function createLogger(service: string, level: string): Logger {
  return winston.createLogger({
    level: level === 'none' ? 'error' : level,
    silent: level === 'none',
    format: winston.format((info) => allowed(info, service))(),
    transports: [
      new winston.transports.Stream({
        format: winston.format.printf((info) => JSON.stringify(info)),
        stream: createLogOutput(writerTo(process.stdout), (count, code) => lossLine(service, count, code)),
        eol: '\n',
      }),
    ],
  });
}

function lossLine(service: string, count: number, code: string): string {
  const level = 'warn';
  return JSON.stringify({
    time: new Date().toISOString(),
    service,
    level,
    message: 'log lines were lost',
    count,
    code,
  });
}

/** Returns what may be logged: the fields of the allow-list, and an error's name, code, message and stack, with its causes. */
export function allowed(info: winston.Logform.TransformableInfo, service: string): winston.Logform.TransformableInfo {
  const line: Record<string | symbol, unknown> = { time: new Date().toISOString(), service };
  for (const field of fields) if (info[field] !== undefined) line[field] = info[field];
  if (info['error'] !== undefined) line['error'] = describeError(info['error']);
  line[Symbol.for('level')] = info[Symbol.for('level') as unknown as string];
  return line as winston.Logform.TransformableInfo;
}

/** How many errors of one AggregateError are logged. */
const ERRORS_MAX = 8;

// Other properties of an error may quote a row, such as PostgreSQL's `detail`.
function describeError(error: unknown): Record<string, unknown> {
  const { name, code, message, stack, cause, errors } = error as Error & { code?: unknown; errors?: unknown[] };
  return {
    name,
    code,
    message,
    stack: stack?.split('\n').slice(1, 8).join('\n'),
    ...(cause === undefined ? {} : { cause: describeError(cause) }),
    ...(Array.isArray(errors) ? { errors: errors.slice(0, ERRORS_MAX).map(describeError) } : {}),
  };
}
