import { BlockList, isIP } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { Cidr, addressIn, clientNetwork, isInside } from './cidr.ts';

const isAccepted = (text: string) => Cidr.safeParse(text).success;

describe('a network', () => {
  test.each([
    '0.0.0.0/0',
    '10.0.0.0/8',
    '192.0.2.128/25',
    '192.0.2.1/32',
    '192.0.2.1',
    '::/0',
    '2001:db8::/32',
    '2001:DB8:0:0::/64',
    '2001:db8::1/128',
    '2001:db8::1',
    '1:2:3:4:5:6:7:8',
    '64:ff9b::/96',
    '::ffff:10.0.0.0/104',
    '::ffff:a00:0/104',
    '::ffff:10.1.2.3',
    '::ffff:0:0/96',
  ])('is %s', (text) => {
    expect(isAccepted(text)).toBe(true);
  });

  test.each([
    ['host bits', '10.0.0.1/8'],
    ['host bits', '192.0.2.1/31'],
    ['host bits', '192.0.2.1/0'],
    ['host bits', '2001:db8::1/127'],
    ['host bits', '2001:db8::1/32'],
    ['host bits', '::ffff:10.0.0.1/104'],
    ['host bits', '::ffff:0:0/95'],
    ['a length too great', '10.0.0.0/33'],
    ['a length too great', '2001:db8::/129'],
    ['a length too great', '10.0.0.0/104'],
    ['a leading zero', '10.0.0.0/08'],
    ['a leading zero', '010.0.0.0/8'],
    ['a leading zero', '10.0.00.0/8'],
    ['no digits for a length', '10.0.0.0/'],
    ['no digits for a length', '10.0.0.0/-8'],
    ['no digits for a length', '10.0.0.0/+8'],
    ['no digits for a length', '10.0.0.0/8.0'],
    ['no digits for a length', '10.0.0.0/0x8'],
    ['no digits for a length', '10.0.0.0/1e1'],
    ['a mask for a length', '10.0.0.0/255.0.0.0'],
    ['two lengths', '10.0.0.0/8/8'],
    ['a short address', '10.0.0/8'],
    ['a short address', '10/8'],
    ['a number for an address', '167772160/8'],
    ['hexadecimal', '0xa.0.0.0/8'],
    ['an octet too great', '256.0.0.0/8'],
    ['a zone', 'fe80::1%eth0'],
    ['a zone', 'fe80::%eth0/64'],
    ['brackets', '[2001:db8::]/32'],
    ['two gaps', '1::2::3'],
    ['nine groups', '1:2:3:4:5:6:7:8:9'],
    ['a space', ' 10.0.0.0/8'],
    ['a space', '10.0.0.0 /8'],
    ['a space', '10.0.0.0/8\n'],
    ['a list', '10.0.0.0/8,11.0.0.0/8'],
    ['nothing', ''],
    ['nothing', '/8'],
    ['a name', 'localhost'],
    ['other digits', '１０.0.0.0/8'],
    ['too much', `${'0'.repeat(100)}::/32`],
  ])('does not accept %s: %j', (_, text) => {
    expect(isAccepted(text)).toBe(false);
  });

  test('that is refused comes with an example of a valid one', () => {
    expect(Cidr.safeParse('10.0.0.1/8').error?.issues[0]?.message).toContain('10.0.0.0/8');
  });
});

describe('an address', () => {
  test.each(['192.0.2.1', '2001:db8::1', 'anything'])('%s is inside an empty list of networks', (address) => {
    expect(isInside(address, [])).toBe(true);
  });

  test.each([
    { address: '10.255.255.255', cidrs: ['10.0.0.0/8'], inside: true },
    { address: '11.0.0.0', cidrs: ['10.0.0.0/8'], inside: false },
    { address: '9.255.255.255', cidrs: ['10.0.0.0/8'], inside: false },
    { address: '255.255.255.255', cidrs: ['0.0.0.0/0'], inside: true },
    { address: '192.0.2.1', cidrs: ['192.0.2.1'], inside: true },
    { address: '192.0.2.2', cidrs: ['192.0.2.1'], inside: false },
    { address: '192.0.2.2', cidrs: ['10.0.0.0/8', '192.0.2.0/24'], inside: true },
    { address: '2001:db8:ffff::', cidrs: ['2001:db8::/32'], inside: true },
    { address: '2001:db9::', cidrs: ['2001:db8::/32'], inside: false },
    { address: '2001:DB8:0:0:0:0:0:1', cidrs: ['2001:db8::1'], inside: true },
    { address: '64:ff9b::192.0.2.1', cidrs: ['64:ff9b::c000:200/120'], inside: true },
    { address: '64:ff9b::192.0.3.1', cidrs: ['64:ff9b::c000:200/120'], inside: false },
  ])('$address is inside $cidrs: $inside', ({ address, cidrs, inside }) => {
    expect(isInside(address, cidrs)).toBe(inside);
  });

  test.each(['192.0.2.1', '::ffff:192.0.2.1', '::ffff:c000:201', '::FFFF:C000:0201', '0:0:0:0:0:ffff:192.0.2.1'])(
    '%s is one IPv4 address, whichever way it and the network are written',
    (address) => {
      for (const cidr of ['192.0.2.0/24', '::ffff:192.0.2.0/120', '::ffff:c000:200/120', '::ffff:192.0.2.1']) {
        expect(isInside(address, [cidr])).toBe(true);
      }
      for (const cidr of ['192.0.3.0/24', '::ffff:192.0.3.0/120', '::/0', '::/64', '::192.0.2.1']) {
        expect(isInside(address, [cidr])).toBe(false);
      }
    },
  );

  test.each([
    '',
    'localhost',
    '10.0.0',
    '10.0.0.1/32',
    '10.0.0.01',
    ' 10.0.0.1',
    '[::1]',
    '::1%lo',
    'fe80::1%eth0',
    '1::2::3',
  ])('that cannot be parsed is inside no network: %j', (address) => {
    expect(isInside(address, ['0.0.0.0/0', '::/0'])).toBe(false);
  });

  test('is not inside a malformed network, and is not let in if all are malformed', () => {
    expect(isInside('10.0.0.1', ['10.0.0.1/8'])).toBe(false);
    expect(isInside('10.0.0.1', ['10.0.0.0/8', '11.0.0.0/8'])).toBe(true);
    expect(isInside('10.0.0.1', ['10.0.0.0/8,11.0.0.0/8'])).toBe(false);
    expect(isInside('10.0.0.1', ['', '10.0.0.0/8'])).toBe(true);
  });

  test('is compared with the right list, however many came before', () => {
    const lists = Array.from({ length: 600 }, (_, i) => [`10.${i >> 8}.${i & 255}.0/24`]);
    for (let round = 0; round < 2; round++) {
      const found = lists.map((list) => isInside('10.1.44.9', list));
      expect(found.map((inside, i) => (inside ? i : -1)).filter((i) => i >= 0)).toEqual([300]);
    }
  });
});

// Prefixes of binary digits instead of shifted numbers, and addresses written by the test itself.
const bitsOf = (value: bigint, bits: number) => value.toString(2).padStart(bits, '0');
const ipv4 = (value: bigint) => [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
const groups = (value: bigint) =>
  bitsOf(value, 128)
    .match(/.{16}/g)!
    .map((group) => Number.parseInt(group, 2).toString(16));
const ipv6 = (value: bigint) => groups(value).join(':');
const ipv6Short = (value: bigint) => ipv6(value).replace(/(?:^|:)0(?::0)+(?::|$)/, '::');
const families = { 4: { bits: 32, text: ipv4 }, 6: { bits: 128, text: ipv6Short } } as const;

const question = fc.constantFrom<4 | 6>(4, 6).chain((family) => {
  const { bits } = families[family];
  return fc.record({
    family: fc.constant(family),
    value: fc.bigInt({ min: 0n, max: 2n ** BigInt(bits) - 1n }),
    length: fc.integer({ min: 0, max: bits }),
    // One bit away is near enough to the edge to be on either side of it.
    flipped: fc.option(fc.integer({ min: 0, max: bits - 1 })),
  });
});
const mapped = (value: bigint) => {
  const whole = (0xffffn << 32n) | value;
  return [`::ffff:${ipv4(value)}`, ipv6(whole), ipv6Short(whole)];
};

describe('against two other ways to compute it', () => {
  test('an address is inside exactly if it begins with the bits of the network', () => {
    const outcomes = { inside: 0, outside: 0 };
    fc.assert(
      fc.property(question, ({ family, value, length, flipped }) => {
        const { bits, text } = families[family];
        const host = BigInt(bits - length);
        const network = (value >> host) << host;
        const address = flipped === null ? value : value ^ (1n << BigInt(flipped));
        const expected = bitsOf(address, bits).startsWith(bitsOf(network, bits).slice(0, length));
        const blockList = new BlockList();
        blockList.addSubnet(text(network), length, `ipv${family}`);

        outcomes[expected ? 'inside' : 'outside']++;
        expect(isAccepted(`${text(network)}/${length}`)).toBe(true);
        expect(isAccepted(`${text(value)}/${length}`)).toBe(network === value);
        expect(isInside(text(address), [`${text(network)}/${length}`])).toBe(expected);
        expect(blockList.check(text(address), `ipv${family}`)).toBe(expected);
      }),
      { numRuns: 1000 },
    );
    expect(Math.min(outcomes.inside, outcomes.outside)).toBeGreaterThan(200);
  });

  test('an IPv4 address is inside in every spelling', () => {
    fc.assert(
      fc.property(question, ({ family, value, length, flipped }) => {
        fc.pre(family === 4);
        const host = BigInt(32 - length);
        const network = (value >> host) << host;
        const address = flipped === null ? value : value ^ (1n << BigInt(flipped));
        const expected = bitsOf(address, 32).startsWith(bitsOf(network, 32).slice(0, length));
        for (const cidr of [`${ipv4(network)}/${length}`, ...mapped(network).map((way) => `${way}/${96 + length}`)]) {
          for (const way of [ipv4(address), ...mapped(address)]) expect(isInside(way, [cidr])).toBe(expected);
        }
      }),
      { numRuns: 200 },
    );
  });
});

// What addresses are made of, so that many of the texts are one and many are nearly one.
const piece = fc.constantFrom(
  ...'0 1 9 00 01 ff 1f2E 0000 12345 g : : : :: :: . . 1.2.3.4 255 256 1.2.3 0.0.0.0'.split(' '),
);
const eightGroups = fc.array(fc.constantFrom('0', '1', 'ab', 'FFFF', ''), { minLength: 6, maxLength: 9 });

test('Node and the contract agree on what an address is', () => {
  const outcomes = { 0: 0, 4: 0, 6: 0 };
  const texts = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
    fc
      .array(fc.constantFrom('0', '7', '10', '99', '199', '255', '256', '01', ''), { minLength: 3, maxLength: 5 })
      .map((octets) => octets.join('.')),
    eightGroups.map((groups) => groups.join(':')),
    eightGroups.map((groups) => `${groups.slice(0, 6).join(':')}:1.2.3.4`),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const family = isIP(text) as 0 | 4 | 6;
      outcomes[family]++;
      expect([text, isAccepted(text)]).toEqual([text, family !== 0]);
    }),
    { numRuns: 20_000 },
  );
  expect(Math.min(...Object.values(outcomes))).toBeGreaterThan(200);
});

describe('a client counts', () => {
  test.each([
    ['2001:db8:0:1::1', '2001:db8:0:1:ffff:ffff:ffff:ffff'],
    ['2001:db8::', '2001:0DB8:0000:0000:0000:0000:0000:0001'],
    ['fe80::1%eth0', 'fe80::2'],
    ['192.0.2.1', '::ffff:192.0.2.1'],
    ['192.0.2.1', '::ffff:c000:201'],
  ])('as one at %s and at %s', (one, other) => {
    expect(clientNetwork(one)).toBe(clientNetwork(other));
  });

  test.each([
    ['2001:db8:0:1::1', '2001:db8:0:2::1'],
    ['192.0.2.1', '192.0.2.2'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.2'],
    ['::', '0.0.0.0'],
    ['unknown', '192.0.2.1'],
    ['no:address', 'another:one'],
  ])('separately at %s and at %s', (one, other) => {
    expect(clientNetwork(one)).not.toBe(clientNetwork(other));
  });
});

describe('the address', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:443', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['[::ffff:192.0.2.1]:443', '192.0.2.1'],
    ['2001:db8::1', '2001:db8::1'],
    ['2001:db8::1:443', '2001:db8::1:443'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['[2001:db8::1]:65535', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
  ])('in %s', (text, address) => {
    expect(addressIn(text)).toBe(address);
  });

  test.each(['', 'unknown', '_hidden', '192.0.2.1:', '192.0.2.1:x', '192.0.2.1:123456', '[192.0.2.1', '[]:1', '1.2.3'])(
    'is not in %p',
    (text) => {
      expect(addressIn(text)).toBeUndefined();
    },
  );
});
