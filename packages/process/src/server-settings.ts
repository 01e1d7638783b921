import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { withCause } from './cause.ts';
import { fileIssue, startProblem, wholeNumber } from './config.ts';
import type { Rule } from './config.ts';
import { checkPrivateFile, readPrivateFileSync } from './private-file.ts';

/** A variable with the path of a file that holds one secret. Its value is the secret. */
export const SecretFile = z.string().transform((path, ctx) => {
  let text = '';
  const problem = startProblem(() => (text = readPrivateFileSync({ path, subject: `the file ${path}` })));
  if (problem === undefined && text !== '') return text;
  ctx.addIssue(fileIssue(problem ?? `the file ${path} is empty`));
  return z.NEVER;
});

/** The same, of a file that is read later, because it may be a pipe. Its value is the path. */
export const SecretPath = z.string().superRefine((path, ctx) => {
  const problem = startProblem(() => checkPrivateFile({ path, subject: `the file ${path}` }));
  if (problem !== undefined) ctx.addIssue(fileIssue(problem));
});

/** A variable with the path of a file of certificates. Its value is their text. */
const CertificateFile = z.string().transform((path, ctx) => {
  try {
    const text = readFileSync(path, 'utf8');
    if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
    ctx.addIssue(fileIssue(`the file ${path} holds no certificate (PEM)`));
  } catch (error) {
    ctx.addIssue(fileIssue(withCause(`the file ${path} cannot be read`, error)));
  }
  return z.NEVER;
});

/** A variable with the URL of a PostgreSQL database. */
export const PostgresUrl = z.url({
  protocol: /^postgres(ql)?$/,
  error: 'must be a URL that begins with postgresql://',
});

const RedisUrl = z
  .url({
    protocol: /^(rediss?|unix)$/,
    error: 'must be a URL that begins with redis://, rediss:// or unix://',
  })
  .refine(hasRedisDatabase, 'must name its database by a number: redis://host/0 or unix:///path?db=0');

// With another text, Redis refuses every command, and with another parameter the name would be ignored.
function hasRedisDatabase(text: string): boolean {
  const url = new URL(text);
  const parameters = [...url.searchParams];
  if (url.protocol === 'unix:') return parameters.every(([name, value]) => name === 'db' && /^\d{1,5}$/.test(value));
  return parameters.length === 0 && /^(\/\d{0,5})?$/.test(url.pathname);
}

/** The variables of a service's database in profile full. */
export const databaseVariables = {
  CARDEA_DATABASE_URL: PostgresUrl.optional(),
  CARDEA_DATABASE_PASSWORD_FILE: SecretFile.optional(),
  CARDEA_DATABASE_CA_FILE: CertificateFile.optional(),
  /** A pool that is too small makes requests wait for each other, and PostgreSQL refuses more than it has room for. */
  CARDEA_DATABASE_CONNECTIONS: wholeNumber({ min: 2, max: 500 }).default(20),
};

/** The variables of Redis in profile full. */
export const redisVariables = {
  CARDEA_REDIS_URL: RedisUrl.optional(),
  CARDEA_REDIS_PASSWORD_FILE: SecretFile.optional(),
  CARDEA_REDIS_CA_FILE: CertificateFile.optional(),
};

/** The rules of the variables of one database: `CARDEA_<name>_URL` with the file of its password. */
export function databaseRules(name: string, fileVariable = `CARDEA_${name}_PASSWORD_FILE`): Rule {
  const urlVariable = `CARDEA_${name}_URL`;
  return (given) => [
    ...onePassword(urlVariable, fileVariable)(given),
    ...verifiedBy(urlVariable, 'CARDEA_DATABASE_CA_FILE')(given),
  ];
}

/** The rules of the variables of Redis. */
export function redisRules(): Rule {
  return (given) => {
    const problems = onePassword('CARDEA_REDIS_URL', 'CARDEA_REDIS_PASSWORD_FILE')(given);
    const url = URL.parse(given['CARDEA_REDIS_URL'] ?? '');
    if (url && url.protocol !== 'rediss:' && 'CARDEA_REDIS_CA_FILE' in given) {
      problems.push('CARDEA_REDIS_URL must begin with rediss://, because CARDEA_REDIS_CA_FILE asks for TLS');
    }
    return problems;
  };
}

function onePassword(urlVariable: string, fileVariable: string): Rule {
  return (given) => {
    if (!(fileVariable in given)) return [];
    const url = given[urlVariable];
    if (url === undefined) return [`${fileVariable} is set, but ${urlVariable} is not`];
    if (!URL.parse(url)?.password) return [];
    return [`${urlVariable} holds a password, and ${fileVariable} names another: remove the one in the URL`];
  };
}

function verifiedBy(urlVariable: string, caVariable: string): Rule {
  return (given) => {
    const url = URL.parse(given[urlVariable] ?? '');
    if (!url || !(caVariable in given)) return [];
    if (url.searchParams.get('host')?.startsWith('/')) {
      return [`${urlVariable} is a socket of this machine, which needs no ${caVariable}`];
    }
    // The parameters of the URL would take the place of the check that the file asks for.
    const inUrl = ['ssl', 'sslmode', 'sslrootcert'].find((parameter) => url.searchParams.has(parameter));
    return inUrl === undefined ? [] : [`${urlVariable} has ${inUrl}, and ${caVariable} says it too: remove ${inUrl}`];
  };
}
