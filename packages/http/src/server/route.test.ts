import { describe, expect, test } from '@jest/globals';
import { toPattern } from './route.ts';

describe('a path template', () => {
  const secret = '/api/v1/vaults/{vault}/secrets/{+name}';

  test.each([
    [secret, '/api/v1/vaults/v/secrets/a/b.c', { vault: 'v', name: 'a/b.c' }],
    [`${secret}:versions`, '/api/v1/vaults/v/secrets/a/b:versions', { vault: 'v', name: 'a/b' }],
    ['/vaults/{vault}/grants/{*principal}', '/vaults/v/grants/user:alice', { vault: 'v', principal: 'user:alice' }],
  ])('%s matches %s', (template, path, groups) => {
    expect({ ...toPattern(template).exec(path)?.groups }).toEqual(groups);
  });

  test.each([
    [secret, '/api/v1/vaults/v/secrets/'],
    [secret, '/api/v1/vaults/v/secrets/a:versions'],
    [secret, '/api/v1/vaults/v/w/secrets/a'],
    [secret, 'x/api/v1/vaults/v/secrets/a'],
    ['/healthz', '/healthz/'],
    ['/api/v1/openapi.json', '/api/v1/openapiXjson'],
  ])('%s does not match %s', (template, path) => {
    expect(toPattern(template).exec(path)).toBeNull();
  });
});
