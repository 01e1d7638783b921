import { join } from 'node:path';

import { CannotStart } from '../cannot-start.ts';
import type { Choices } from './choices.ts';
import type { StackEnv } from './env-file.ts';
import { installedStack } from './stack-env.ts';

/**
 * Refuses choices that the stack in the folder does not have: a run never changes what was chosen for its stack, and must
 * not leave them out in silence, or `--uninstall --name other` would remove another stack than its operator means.
 * @throws CannotStart that names all of them, and says what to do instead
 */
export function refuseOtherChoices(folder: string, env: StackEnv, choices: Choices): void {
  const { profile, hosts } = installedStack(env);
  const place = [
    { option: '--domain', variable: 'CARDEA_DOMAIN', is: hosts.join(), wanted: choices.hosts?.join() },
    { option: '--https-port', variable: 'CARDEA_HTTPS_PORT', wanted: choices.httpsPort },
    { option: '--http-port', variable: 'CARDEA_HTTP_PORT', wanted: choices.httpPort },
    { option: '--grafana-port', variable: 'CARDEA_GRAFANA_PORT', wanted: choices.grafanaPort },
    // Docker changes no network that containers use.
    { option: '--subnet', variable: 'CARDEA_SUBNET', wanted: choices.subnet, first: 'run it with --uninstall, ' },
  ];
  const problems = [
    ...differs(choices.profile, profile, `is of profile ${profile}, and data cannot move between profiles`),
    ...differs(
      choices.name,
      env['COMPOSE_PROJECT_NAME'],
      `has the name ${env['COMPOSE_PROJECT_NAME']}, which its data have too`,
    ),
  ].map((problem) => `${problem}: use another --folder and --name`);
  for (const { option, variable, wanted, is = env[variable], first = '' } of place) {
    const what = is === undefined ? `has no ${variable}` : `has ${variable}=${is}`;
    const remedy = `${first}write ${variable}=${wanted} into ${join(folder, '.env')}, and run this command again without ${option}`;
    problems.push(...differs(wanted, is, `${what}: ${remedy}`));
  }
  if (problems.length > 0) throw new CannotStart(problems.map((it) => `the stack in ${folder} ${it}`).join('\n'));
}

function differs(wanted: string | number | undefined, is: string | undefined, problem: string): string[] {
  return wanted === undefined || `${wanted}` === is ? [] : [problem];
}
