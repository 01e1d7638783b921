import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';

import { nearestTo } from '@cardea/process/known-variables';
import { CannotStart, exitCannotStart, problemOf } from '../cannot-start.ts';
import { errorOutput } from '../settings-check.ts';
import { parseHosts, parsePort, parseSubnet } from './choices.ts';
import { composeOf, hasProject, inContainer } from './docker.ts';
import type { Planned } from './docker.ts';
import type { StackEnv } from './env-file.ts';
import { installedStack } from './stack-env.ts';
import { handouts, passwords } from './stack-files.ts';
import { refuseLostPasswords } from './stack-folder.ts';

/** The variables that only compose files read. No service checks them. */
const ofComposeFiles: Record<string, (text: string) => unknown> = {
  CARDEA_DOMAIN: parseHosts,
  CARDEA_HTTPS_PORT: (text) => parsePort('CARDEA_HTTPS_PORT', text),
  CARDEA_HTTP_PORT: (text) => parsePort('CARDEA_HTTP_PORT', text),
  CARDEA_GRAFANA_PORT: (text) => parsePort('CARDEA_GRAFANA_PORT', text),
  CARDEA_SUBNET: (text) => parseSubnet('CARDEA_SUBNET', text),
  CARDEA_BIND: parseAddress,
  CARDEA_METRICS_DAYS: parseDays,
  CARDEA_POSTGRES_CONNECTIONS: parseConnections,
  CARDEA_POSTGRES_USER: (text) => parseUser('CARDEA_POSTGRES_USER', text),
  CARDEA_REDIS_USER: (text) => parseUser('CARDEA_REDIS_USER', text),
};

/**
 * Checks the settings of a stack as far as that needs no image: nothing else reads a name that the compose file does not
 * read, so it would be ignored in silence. Variables of Docker itself pass.
 * @throws CannotStart that names all of them
 */
export function checkStackNames(env: StackEnv): void {
  const known = [...new Set(readFileSync(env['COMPOSE_FILE']!, 'utf8').match(/(?<=\$\{)[A-Z_]+/g))];
  const unknown = Object.keys(env).filter((name) => !known.includes(name) && !/^(COMPOSE|DOCKER)_/.test(name));
  refuse([
    ...unknown.map((name) => `${name} is no setting of this stack, ${nearestTo(name, known)} is the nearest one`),
    ...Object.entries(ofComposeFiles).flatMap(([name, parser]) => problemOf(() => env[name] && parser(env[name]))),
  ]);
}

/**
 * Checks that the folder of an installed stack has lost no password.
 * @throws CannotStart that names all that are lost
 */
export async function checkStackPasswords(folder: string, env: StackEnv): Promise<void> {
  // The versions that kept no list of the passwords had all of today's.
  const ofOldVersion = (await hasProject(env['COMPOSE_PROJECT_NAME']!)) ? passwords[installedStack(env).profile] : [];
  await refuseLostPasswords(folder, ofOldVersion);
}

/**
 * Lets the services of the stack's image check their settings, each with the environment and the files that its container
 * would get. Nothing is started. `env` may be that of a version that does not run yet.
 * @throws CannotStart with what the services say
 */
export async function checkStackSettings(folder: string, env: StackEnv): Promise<void> {
  const planned = await composeOf(folder).planned(env['COMPOSE_FILE']);
  const checks = planned.flatMap((it) => {
    const script = it.command.find((word) => /^services\/.*\/main\.ts$/.test(word));
    return script === undefined ? [] : [{ script, variables: variablesOf(folder, env, it) }];
  });
  // Two containers of one service have the same.
  const different = [...new Map(checks.map((check) => [JSON.stringify(check), check])).values()];
  const refusals = await Promise.all(
    different.map(({ script, variables }) => refusalOf(env['CARDEA_IMAGE']!, folder, script, variables)),
  );
  refuse([...new Set(refusals.flat())]);
}

// Before the start no container has its files: the service gets those of the stack's folder, under their own paths.
function variablesOf(folder: string, env: StackEnv, { service, environment }: Planned): string[] {
  const has = (path: string) => existsSync(join(folder, path));
  // The users do not matter here.
  const given = handouts(installedStack(env).profile, { postgres: '0:0', redis: '0:0' }, has);
  const files = given.find(({ container }) => container === service.replace(/-\d$/, ''))?.files ?? {};
  return Object.entries(environment).flatMap(([name, value]) => {
    const source = files[/^\/run\/cardea\/(.+)$/.exec(value)?.[1] ?? ''];
    return ['--env', `${name}=${source === undefined ? value : join(folder, source)}`];
  });
}

async function refusalOf(image: string, folder: string, script: string, variables: string[]): Promise<string[]> {
  try {
    const words = ['--volume', `${folder}:${folder}:ro`, ...variables];
    await inContainer(image, words, `exec node ${script} --check-settings`);
    return [];
  } catch (error) {
    if ((error as { code?: unknown }).code !== exitCannotStart) throw error;
    return errorOutput(error).split('\n');
  }
}

function refuse(problems: string[]): void {
  if (problems.length > 0) throw new CannotStart(['nothing was started:', ...problems].join('\n- '));
}

function parseAddress(text: string): void {
  if (isIP(text) === 0)
    throw new CannotStart(`CARDEA_BIND is "${text}": write an address of this machine, an IPv6 one without brackets`);
}

function parseDays(text: string): void {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new CannotStart(`CARDEA_METRICS_DAYS is "${text}": write a number of days`);
}

// The container of PostgreSQL may have 300 processes, and each connection is one.
function parseConnections(text: string): void {
  if (/^[1-9]\d*$/.test(text) && Number(text) >= 20 && Number(text) <= 250) return;
  throw new CannotStart(`CARDEA_POSTGRES_CONNECTIONS is "${text}": write a number from 20 to 250`);
}

// Root could read the files of every container.
function parseUser(name: string, text: string): void {
  if (/^[1-9]\d{0,9}:\d{1,10}$/.test(text)) return;
  throw new CannotStart(`${name} is "${text}": write uid:gid of the user in the image, as in 999:999, and not of root`);
}
