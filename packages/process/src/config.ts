import { isIP } from 'node:net';
import { z } from 'zod';
import { findUnknown } from './known-variables.ts';

/**
 * A service cannot start. The message is one sentence that says what to do. The process prints it and exits with 78.
 */
export class StartError extends Error {
  override name = 'StartError';
}

/** Some settings of a service are wrong. */
export class SettingsWrong extends StartError {
  override name = 'SettingsWrong';
  /** One clause for each. */
  readonly problems: string[];

  constructor(problems: string[]) {
    super(`The settings are wrong: ${problems.join('; ')}.`);
    this.problems = problems;
  }
}

/** The variables that are set, as text. */
export type Given = Readonly<Record<string, string>>;

/** A problem of the file that a variable names. The message names the file, so the value of the variable is not repeated. */
export function fileIssue(message: string) {
  return { code: 'custom', message, params: { namesFile: true } } as const;
}

/** What is wrong with variables that belong together: one clause for each problem. */
export type Rule = (given: Given) => string[];

/**
 * Reads a service's settings from the environment. `rules` look at several variables at once.
 * @throws SettingsWrong that names every wrong or unknown variable, and quotes its value unless the value may be secret
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
  if (problems.length > 0) throw new SettingsWrong(problems);
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

function describe(issue: z.core.$ZodIssue, given: Given): string {
  const { path, message } = issue;
  const name = String(path[0]);
  const value = given[name];
  if (value === undefined) return `${name} is not set, and this service needs it`;
  if (issue.code === 'custom' && issue.params?.['namesFile'] === true) return `${name}: ${message}`;
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

/** A setting that is a whole number, in digits only: not 1e3, 0x10 or 5.0, and no spaces. */
export function wholeNumber({ min, max = Number.MAX_SAFE_INTEGER }: { min: number; max?: number }) {
  return z
    .string()
    .regex(/^-?\d+$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(min).max(max));
}

/** A variable with a TCP port. 0 asks the system for a free port. */
export const Port = wholeNumber({ min: 0, max: 65_535 });

/** A variable with the URL of another service. Services talk over mutual TLS only. */
export const ServiceUrl = z.url({ protocol: /^https$/, error: 'must be a URL that begins with https://' });

/**
 * A variable with the address on which a service listens. A name would be looked up, and so would 1.2.3, which some
 * systems read as 1.2.0.3: only an address, or the name that every machine has for itself.
 */
const Host = z
  .string()
  .refine((text) => isIP(text) !== 0 || text === 'localhost', 'must be an IP address of this machine, or localhost');

/** The settings that every service reads. */
export const commonSettings = {
  CARDEA_PROFILE: z.enum(['mini', 'full']).default('mini'),
  CARDEA_DATA_DIR: z.string().min(1).default('./data'),
  CARDEA_TLS_DIR: z.string().min(1),
  CARDEA_HOST: Host.default('127.0.0.1'),
  /** The address of health and metrics. It stays internal, even if the service itself has a public address. */
  CARDEA_OPS_HOST: Host.default('127.0.0.1'),
  CARDEA_OPS_PORT: Port,
  CARDEA_LOG_LEVEL: z.enum(['none', 'error', 'warn', 'info', 'debug']).default('info'),
};
