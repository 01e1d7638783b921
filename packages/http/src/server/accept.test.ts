import { expect, test } from '@jest/globals';
import { preferredBareType } from './accept.ts';

test.each([
  [undefined, undefined],
  ['', undefined],
  ['*/*', undefined],
  ['application/json', undefined],
  // The default of axios, and that of a browser.
  ['application/json, text/plain, */*', undefined],
  ['text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8', undefined],
  ['image/png', undefined],
  ['text/plain', 'text/plain'],
  ['Text/Plain; charset=utf-8', 'text/plain'],
  ['text/*', 'text/plain'],
  ['application/octet-stream', 'application/octet-stream'],
  ['application/*', undefined],
  ['text/plain, */*;q=0.1', 'text/plain'],
  ['text/plain, application/json', undefined],
  ['text/plain, application/json;q=0.9', 'text/plain'],
  ['text/plain;q=0.8, application/json;q=0.9', undefined],
  ['text/plain;q=0.8, application/octet-stream;q=0.9', 'application/octet-stream'],
  ['application/octet-stream, text/plain', 'text/plain'],
  ['text/plain;q=0', undefined],
  ['*/*, text/plain;q=0', undefined],
  ['*/*, application/json;q=0', 'text/plain'],
  ['*/*, application/json;q=0, text/*;q=0', 'application/octet-stream'],
  ['text/plain;q=2', undefined],
  ['text/plain;q=', undefined],
  [',,;;', undefined],
])('Accept: %s is answered with %s', (accept, type) => {
  expect(preferredBareType(accept)).toBe(type);
});
