import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { WORDS_MAX, wordsOf, wordsOfQuery } from './search-index.ts';

describe('the words of a name', () => {
  test.each([
    ['db/password', ['db', 'password']],
    ['dbPassword', ['db', 'password', 'dbpassword']],
    ['prod/db-main/API_KEY.v2', ['prod', 'db', 'main', 'api', 'key', 'v2', 'db-main', 'api_key.v2']],
    ['s3Bucket', ['s3', 'bucket', 's3bucket']],
    ['HTTPServer', ['httpserver']],
    ['db/db/DB', ['db']],
    ['a--b..c', ['a', 'b', 'c', 'a--b..c']],
    ['-', ['-']],
    ['_/x', ['x', '_']],
  ])('%s is found by %j', (name, words) => {
    expect(wordsOf(name)).toEqual(words);
  });

  test('have at most 64 characters', () => {
    const words = wordsOf(`${'a'.repeat(100)}-b`);
    expect(words).toEqual(['a'.repeat(64), 'b']);
  });

  test('are at most the first 32', () => {
    const words = Array.from({ length: 100 }, (_, i) => `w${i}`);
    expect(wordsOf(words.join('/'))).toEqual(words.slice(0, 32));
  });

  const Segment = fc.stringMatching(/^[A-Za-z0-9._-]{1,40}$/);
  const Name = fc.array(Segment, { minLength: 1, maxLength: 10 }).map((segments) => segments.join('/'));

  test('are at least one, all different, in lower case, and not empty', () => {
    fc.assert(
      fc.property(Name, (name) => {
        const words = wordsOf(name);
        expect(words.length).toBeGreaterThan(0);
        expect(new Set(words).size).toBe(words.length);
        for (const word of words) expect(word).toMatch(/^[a-z0-9._-]{1,64}$/);
      }),
    );
  });

  test('begin with every word of a query that is the name itself', () => {
    fc.assert(
      fc.property(Name, (name) => {
        const words = wordsOf(name);
        for (const asked of wordsOfQuery(name).slice(0, WORDS_MAX))
          expect(words.some((word) => word.startsWith(asked))).toBe(true);
      }),
    );
  });
});

describe('the words of a query', () => {
  test.each([
    ['db pass', ['db', 'pass']],
    ['  dbPass ', ['db', 'pass']],
    ['prod/db-main', ['prod', 'db', 'main']],
    ['db DB Db', ['db']],
    [' -/. ', []],
    ['Ünï', ['ünï']],
  ])('%j asks for %j', (text, words) => {
    expect(wordsOfQuery(text)).toEqual(words);
  });
});
