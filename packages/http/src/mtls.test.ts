import { expect, test } from '@jest/globals';
import { serviceNameOf } from './mtls.ts';

test.each([
  ['URI:spiffe://cardea/api-service, DNS:localhost, IP Address:127.0.0.1', 'api-service'],
  ['DNS:localhost', undefined],
  ['URI:spiffe://other/api-service', undefined],
  ['DNS:"x, URI:spiffe://cardea/api-service"', undefined],
  ['URI:spiffe://cardea/worker, URI:spiffe://cardea/api-service', undefined],
  [undefined, undefined],
])('the peer named by the SANs %s is %s', (subjectaltname, name) => {
  expect(serviceNameOf(subjectaltname ? { subjectaltname } : {})).toBe(name);
});
