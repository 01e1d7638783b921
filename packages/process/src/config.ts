import { z } from 'zod';

/**
 * A service cannot start. The message is one sentence that says what to do. The process prints it and exits with 78.
 */
export class StartError extends Error {
  override name = 'StartError';
}

/**
 * Reads a service's settings from the environment.
 * @throws StartError that names every wrong variable
 */
export function readConfig<S extends z.ZodType>(schema: S, env: NodeJS.ProcessEnv): z.output<S> {
  // Compose files pass an unset variable as an empty one.
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new StartError(`The settings are wrong: ${problems.join('; ')}.`);
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
