import { expect, test } from '@jest/globals';
import { toVariable } from './names.ts';

test.each([
  ['db/password', 'DB_PASSWORD'],
  ['smtp.host-name', 'SMTP_HOST_NAME'],
  ['2fa/seed', '_2FA_SEED'],
  ['api_token', 'API_TOKEN'],
  ['path/to/it', 'PATH_TO_IT'],
  ['proxy', 'PROXY'],
  ['openssl/key', 'OPENSSL_KEY'],
])('%s is %s', (name, variable) => {
  expect(toVariable(`v/${name}`, name)).toBe(variable);
});

test.each([
  'path',
  'LD_PRELOAD',
  'ld/preload',
  'node-options',
  'bash.env',
  'git/ssh/command',
  'PythonStartup',
  'openssl.conf',
  'lua_init_5_4',
  'npm/config/registry',
  'bundle/gemfile',
  'coreclr-profiler',
  'ssh/askpass',
  'xdg/config/home',
  'node/tls/reject-unauthorized',
  'https-proxy',
])('%s would choose the code that a program runs, or whom it trusts', (name) => {
  expect(() => toVariable(`v/${name}`, name)).toThrow('says what code programs run');
});
