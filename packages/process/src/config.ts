import { z } from 'zod';

/** Why a service cannot start: one sentence that says what to do. The process prints it and exits with 78. */
export class StartError extends Error {
  override name = 'StartError';
}

/**
 * Reads a service's settings from the environment, all bad ones at once.
 * @throws StartError that names every variable that is wrong.
 */
export function readConfig<S extends z.ZodType>(schema: S, env: NodeJS.ProcessEnv): z.output<S> {
  // Compose files write a variable that is not set as an empty one.
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new StartError(`The settings are wrong: ${problems.join('; ')}.`);
}

/** A TCP port in a variable. 0 asks the system for a free one. */
export const Port = z.coerce.number().int().min(0).max(65535);

/** What every service reads; `opsPort` serves health and metrics and stays inside. */
export const commonSettings = {
  CARDEA_PROFILE: z.enum(['mini', 'full']).default('mini'),
  CARDEA_DATA_DIR: z.string().min(1).default('./data'),
  CARDEA_TLS_DIR: z.string().min(1),
  CARDEA_HOST: z.string().min(1).default('127.0.0.1'),
  /** Where health and metrics are served: inside, whatever address the service itself is reached at. */
  CARDEA_OPS_HOST: z.string().min(1).default('127.0.0.1'),
  CARDEA_OPS_PORT: Port,
  CARDEA_LOG_LEVEL: z.enum(['none', 'error', 'warn', 'info', 'debug']).default('info'),
};
