import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { CanonicalJsonError, canonicalize } from './canonical-json.ts';
import { EntryTooLarge, chainHash, encodeEntry, encodeEntryAround, genesis, leafHash, nodeHash } from './hash-chain.ts';

interface ParsedEntry {
  event: unknown;
  log: string;
  peer: string;
  prev: string;
  seq: number;
  writtenAt: string;
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/audit-log.json', import.meta.url), 'utf8')) as {
  publicKey: string;
  origin: string;
  genesis: string;
  entries: { entry: string; chain: string; leaf: string }[];
};
const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');
const bytes = (text: string) => Buffer.from(text, 'hex');

describe('the vectors of the audit log', () => {
  test('the origin and the key give the genesis', () => {
    expect(hex(genesis(vectors.origin, bytes(vectors.publicKey)))).toBe(vectors.genesis);
  });

  test('the chain runs from the genesis through every entry, byte for byte', () => {
    let prev = genesis(vectors.origin, bytes(vectors.publicKey));
    for (const [seq, vector] of vectors.entries.entries()) {
      const { event, log, peer, writtenAt } = JSON.parse(vector.entry) as ParsedEntry;
      const entry = encodeEntry({ event, log, peer, prev, seq, writtenAt });
      expect(Buffer.from(entry).toString()).toBe(vector.entry);
      expect(hex(leafHash(entry))).toBe(vector.leaf);
      prev = chainHash(entry);
      expect(hex(prev)).toBe(vector.chain);
    }
    expect(vectors.entries).toHaveLength(5);
  });

  test('an entry around a canonical event has the same bytes', () => {
    for (const vector of vectors.entries) {
      const { event, prev, ...frame } = JSON.parse(vector.entry) as ParsedEntry;
      const entry = encodeEntryAround(canonicalize(event), { ...frame, prev: bytes(prev) });
      expect(Buffer.from(entry).toString()).toBe(vector.entry);
    }
  });
});

describe('an entry', () => {
  const frame = {
    log: 'o',
    peer: 'api-service',
    prev: new Uint8Array(32),
    seq: 0,
    writtenAt: '2026-11-22T06:27:31.000000Z',
  };
  const overhead = encodeEntry({ ...frame, event: '' }).length;

  test('is canonical JSON for every name of the log', () => {
    const text = Buffer.from(encodeEntry({ ...frame, log: 'a"\n€', event: { b: 1, a: 2 } })).toString();
    expect(canonicalize(JSON.parse(text))).toBe(text);
  });

  test('has at most 16,384 bytes', () => {
    const event = 'x'.repeat(16_384 - overhead);
    expect(encodeEntry({ ...frame, event })).toHaveLength(16_384);
    expect(() => encodeEntry({ ...frame, event: `${event}x` })).toThrow(EntryTooLarge);
    expect(() => encodeEntry({ ...frame, event: `${event.slice(1)}é` })).toThrow(EntryTooLarge);
  });

  test('is refused for an event outside the profile', () => {
    expect(() => encodeEntry({ ...frame, event: { a: null } })).toThrow(CanonicalJsonError);
  });

  test.each([
    { peer: '' },
    { peer: 'a"b' },
    { peer: 'Api-Service' },
    { seq: -1 },
    { seq: 1.5 },
    { seq: 2 ** 53 },
    { prev: new Uint8Array(31) },
    { writtenAt: '2026-11-22T06:27:31.000Z' },
    { writtenAt: '2026-11-22T06:27:31.000000+00:00' },
    { writtenAt: '2026-11-22T06:27:31.000000Z"' },
  ])('is refused with the frame %j', (wrong) => {
    expect(() => encodeEntry({ ...frame, ...wrong, event: {} })).toThrow(RangeError);
  });
});

describe('the hashes', () => {
  test('of a leaf, a node and a link of the same bytes differ', () => {
    const half = new Uint8Array(32);
    const both = new Uint8Array(64);
    expect(new Set([leafHash(both), nodeHash(half, half), chainHash(both)].map(hex)).size).toBe(3);
  });

  test('of a genesis needs a public key of 32 bytes', () => {
    expect(() => genesis('o', new Uint8Array(31))).toThrow(RangeError);
  });
});
