import { basename, join } from 'node:path';

import { CannotStart } from '../cannot-start.ts';
import type { Place } from './choices.ts';
import { userIn } from './docker.ts';
import type { StackEnv } from './env-file.ts';
import type { Profile } from './stack-files.ts';

/** The settings of a new stack. Asks the images of PostgreSQL and Redis who their users are. */
export async function newStackEnv(
  choices: Place & { profile: Profile; hosts: string[] },
  at: { folder: string; image: string; versionFolder: string },
): Promise<StackEnv> {
  const { profile, hosts } = choices;
  return {
    COMPOSE_PROJECT_NAME: choices.name,
    COMPOSE_FILE: join(at.versionFolder, `docker-compose.${profile}.yml`),
    CARDEA_STACK_DIR: at.folder,
    CARDEA_IMAGE: at.image,
    CARDEA_DOMAIN: hosts.join(','),
    CARDEA_HTTPS_PORT: `${choices.httpsPort}`,
    CARDEA_HTTP_PORT: `${choices.httpPort}`,
    CARDEA_SUBNET: choices.subnet,
    ...(profile === 'full'
      ? {
          CARDEA_GRAFANA_PORT: `${choices.grafanaPort}`,
          CARDEA_POSTGRES_USER: await userIn('postgres:18.1', 'postgres'),
          CARDEA_REDIS_USER: await userIn('redis:8.2.2', 'redis'),
        }
      : {}),
  };
}

/** The profile and the hosts of an installed stack. @throws CannotStart if the settings lack them */
export function installedStack(env: StackEnv): { profile: Profile; hosts: string[] } {
  const profile = /^docker-compose\.(mini|full)\.yml$/.exec(basename(env['COMPOSE_FILE'] ?? ''))?.[1];
  const hosts = env['CARDEA_DOMAIN'];
  if (profile === undefined || !hosts || !env['CARDEA_IMAGE']) {
    throw new CannotStart('the file .env of the stack lacks COMPOSE_FILE, CARDEA_DOMAIN or CARDEA_IMAGE: put it back');
  }
  return { profile: profile as Profile, hosts: hosts.split(',') };
}

/** The service whose container has the password of the first admin. */
export function apiService(profile: Profile): string {
  return profile === 'mini' ? 'api' : 'api-1';
}
