import { z } from 'zod';
import { findUnknown } from './known-variables.ts';

/**
 * A service cannot start. The message is one sentence that says what to do. The process prints it and exits with 78.
 */
export class StartError extends Error {
  override name = 'StartError';
}

/** The variables that are set, as text. */
export type Given = Readonly<Record<string, string>>;

/** What is wrong with variables that belong together: one clause for each problem. */
export type Rule = (given: Given) => string[];

/**
 * Reads a service's settings from the environment. `rules` look at several variables at once.
 * @throws StartError that names every wrong or unknown variable, and quotes its value unless the value may be secret
 */
export function readConfig<S extends z.ZodObject>(schema: S, env: NodeJS.ProcessEnv, rules: Rule[] = []): z.output<S> {
  // Compose files pass an unset variable as an empty one.
  const given = Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => Boolean(entry[1])));
  const parsed = schema.safeParse(given, { error: inWords });
  const problems = [
    ...(parsed.error?.issues.map((issue) => describe(issue, given)) ?? []),
    ...rules.flatMap((rule) => rule(given)),
    ...findUnknown(Object.keys(given)).map(
      ({ name, nearest }) => `${name} is no setting, ${nearest} is the nearest one`,
    ),
  ];
  if (problems.length > 0) throw new StartError(`The settings are wrong: ${problems.join('; ')}.`);
  return parsed.data!;
}

/** A rule: profile full needs this variable, for the reason given. */
export function fullNeeds(variable: string, reason: string): Rule {
  return (given) =>
    given['CARDEA_PROFILE'] === 'full' && !(variable in given)
      ? [`${variable} is not set, and profile full needs it: ${reason}`]
      : [];
}

/** What a StartError of `work` says, as a clause. */
export function startProblem(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    return error.message.replace(/\.$/, '');
  }
}

// A URL of a server may hold a password, and a password may be set as the wrong variable.
const mayBeSecret = /(DATABASE_URL|REDIS_URL|PASSWORD|SECRET|TOKEN|PIN)$/;

function describe({ path, code, message }: z.core.$ZodIssue, given: Given): string {
  const name = String(path[0]);
  const value = given[name];
  if (value === undefined) return `${name} is not set, and this service needs it`;
  // These name their file themselves.
  if (code === 'custom') return `${name}: ${message}`;
  return mayBeSecret.test(name) ? `${name} ${message}` : `${name} ${message}, not "${value}"`;
}

/** What zod would say in its own terms, such as "Invalid input: expected number, received NaN". */
function inWords(issue: z.core.$ZodRawIssue): string | undefined {
  const { code } = issue;
  if (code === 'invalid_type')
    return issue.expected === 'int' ? 'must be a whole number' : `must be a ${issue.expected}`;
  if (code === 'too_small') return `must be ${issue.inclusive ? 'at least' : 'more than'} ${issue.minimum}`;
  if (code === 'too_big') return `must be at most ${issue.maximum}`;
  if (code === 'invalid_value') return `must be ${issue.values.map(String).join(' or ')}`;
  if (code === 'invalid_format' && issue.format === 'url') return 'must be a URL';
  return undefined;
}

/** A variable with a TCP port. 0 asks the system for a free port. */
export const Port = z.coerce.number().int().min(0).max(65535);

/** The settings that every service reads. */
export const commonSettings = {
  CARDEA_PROFILE: z.enum(['mini', 'full']).default('mini'),
  CARDEA_DATA_DIR: z.string().min(1).default('./data'),
  CARDEA_TLS_DIR: z.string().min(1),
  CARDEA_HOST: z.string().min(1).default('127.0.0.1'),
  /** The address of health and metrics. It stays internal, even if the service itself has a public address. */
  CARDEA_OPS_HOST: z.string().min(1).default('127.0.0.1'),
  CARDEA_OPS_PORT: Port,
  CARDEA_LOG_LEVEL: z.enum(['none', 'error', 'warn', 'info', 'debug']).default('info'),
};
