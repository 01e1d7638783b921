import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { checkStackNames } from './stack-settings.ts';

const compose = (profile: string) => fileURLToPath(new URL(`../../docker-compose.${profile}.yml`, import.meta.url));

test('values that only the compose file reads are refused all at once', () => {
  const env = {
    COMPOSE_FILE: compose('full'),
    CARDEA_POSTGRES_CONNECTIONS: '2e2',
    CARDEA_POSTGRES_USER: 'postgres',
    CARDEA_REDIS_USER: '0:0',
  };
  const problems = [
    'CARDEA_POSTGRES_CONNECTIONS is "2e2": write a number from 20 to 250',
    'CARDEA_POSTGRES_USER is "postgres": write uid:gid of the user in the image, as in 999:999, and not of root',
    'CARDEA_REDIS_USER is "0:0": write uid:gid of the user in the image, as in 999:999, and not of root',
  ];
  expect(() => checkStackNames(env)).toThrow(['nothing was started:', ...problems].join('\n- '));
});

test.each(['19', '251', '0200', ' 200', '-20'])('PostgreSQL does not get %j connections', (text) => {
  const env = { COMPOSE_FILE: compose('full'), CARDEA_POSTGRES_CONNECTIONS: text };
  expect(() => checkStackNames(env)).toThrow('CARDEA_POSTGRES_CONNECTIONS is');
});

test('right values pass', () => {
  const users = { CARDEA_POSTGRES_USER: '70:70', CARDEA_REDIS_USER: '999:1000' };
  for (const connections of ['20', '250']) {
    checkStackNames({ COMPOSE_FILE: compose('full'), CARDEA_POSTGRES_CONNECTIONS: connections, ...users });
  }
});

test.each(['mini', 'full'])('the quotas of a vault can be set in profile %s', (profile) => {
  const quotas = { CARDEA_VAULTS_MADE_PER_USER: '5', CARDEA_SECRETS_PER_VAULT: '5', CARDEA_KEYS_PER_VAULT: '5' };
  expect(() => checkStackNames({ COMPOSE_FILE: compose(profile), ...quotas })).not.toThrow();
});
