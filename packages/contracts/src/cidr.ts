import { z } from 'zod';

const COMPILED_LISTS_MAX = 256;
const PREFIX_LENGTH = /^(?:0|[1-9][0-9]{0,2})$/;
/** 0 to 255. No leading zeros, because some programs read them as octal. */
const OCTET = '(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);
const IPV6_GROUP = /^[0-9a-f]{1,4}$/i;
/** The upper 96 bits of an IPv4 address in IPv6, `::ffff:0:0/96` (RFC 4291 section 2.5.5.2). */
const MAPPED = 0xffffn;

interface Address {
  family: 4 | 6;
  /** 32 bits of IPv4 or 128 of IPv6 as one number. */
  value: bigint;
}

interface Network {
  family: 4 | 6;
  /** The number of host bits. */
  hostBits: bigint;
  /** The address shifted right by the host bits. */
  prefix: bigint;
}

/**
 * A network such as `10.0.0.0/8` or `2001:db8::/32`, or a single address. Host bits must be 0: in `10.1.2.3/8` either
 * the length or the address is wrong. No zone ids, no leading zeros.
 */
export const Cidr = z
  .string()
  .max(64, 'must have at most 64 characters')
  .refine(
    (text) => parseNetwork(text) !== undefined,
    'must be an address or a network such as 10.0.0.0/8 or 2001:db8::/32, with host bits 0',
  );

/**
 * Whether an address is in one of the networks. An empty list allows every address. A text that is not an address is in
 * no network, and an entry that `Cidr` would refuse contains no address. An IPv4 address in IPv6 (`::ffff:192.0.2.1`,
 * as dual-stack sockets report it) counts as IPv4, in the list too. So `::/0` contains no IPv4 address.
 */
export function isInside(address: string, cidrs: readonly string[]): boolean {
  if (cidrs.length === 0) return true;
  const asked = parseAddress(address);
  return asked !== undefined && compiled(cidrs).some((network) => holds(network, asked));
}

/** Whether networks hold every address of IPv4 or of IPv6 together, as `0.0.0.0/1` and `128.0.0.0/1` do. */
export function holdsEverybody(cidrs: readonly string[]): boolean {
  const networks = cidrs.map(parseNetwork).filter((network) => network !== undefined);
  return ([4, 6] as const).some((family) => {
    const own = networks.filter((network) => network.family === family);
    // Two networks lie apart, or one holds the other: those that no other holds are counted without any address twice.
    const outermost = own.filter(
      (one, index) => !own.some((other, at) => at !== index && isIn(one, other) && (at < index || !isIn(other, one))),
    );
    const size = outermost.reduce((sum, { hostBits }) => sum + (1n << hostBits), 0n);
    return size === 1n << (family === 4 ? 32n : 128n);
  });
}

function isIn(inner: Network, outer: Network): boolean {
  if (inner.hostBits > outer.hostBits) return false;
  return inner.prefix >> (outer.hostBits - inner.hostBits) === outer.prefix;
}

/**
 * The key under which a client is counted if only its address is known: the IPv4 address, or the first 64 bits of the
 * IPv6 address, because a client with one address of such a network has all 2^64 of them (RFC 6177). A text that is not
 * an address is its own key.
 */
export function clientNetwork(address: string): string {
  if (!address.includes(':')) return address;
  const parsed = parseAddress(addressIn(address) ?? '');
  if (!parsed) return address;
  return parsed.family === 4 ? dotted(parsed.value) : `${(parsed.value >> 64n).toString(16)}/64`;
}

/**
 * The address in a text that names a client: that of a connection, or an entry of X-Forwarded-For. Some proxies add the
 * port, which is another for each connection, or brackets; a connection may add the zone of a link-local address, or
 * write IPv4 as `::ffff:192.0.2.1`. Undefined if what is left is no address.
 */
export function addressIn(text: string): string | undefined {
  const bare =
    /^\[(?<v6>[^\]]*)\](?::\d{1,5})?$/.exec(text)?.groups?.['v6'] ?? text.replace(/^([0-9.]+):\d{1,5}$/, '$1');
  const address = bare.replace(/%[A-Za-z0-9._-]+$/, '').replace(/^::ffff:(?=\d+\.)/i, '');
  return parseAddress(address) ? address : undefined;
}

// Every request asks for one of a few lists. The cache is bounded and drops its oldest entry first.
const compiledLists = new Map<string, Network[]>();

function compiled(cidrs: readonly string[]): Network[] {
  const key = JSON.stringify(cidrs);
  const known = compiledLists.get(key);
  if (known) return known;

  const networks = cidrs.map(parseNetwork).filter((network) => network !== undefined);
  const [oldest] = compiledLists.keys();
  if (oldest !== undefined && compiledLists.size >= COMPILED_LISTS_MAX) compiledLists.delete(oldest);
  compiledLists.set(key, networks);
  return networks;
}

function holds(network: Network, address: Address): boolean {
  return network.family === address.family && address.value >> network.hostBits === network.prefix;
}

function parseNetwork(text: string): Network | undefined {
  const [address = '', length, ...more] = text.split('/');
  const written = parseWritten(address);
  if (!written || more.length > 0) return undefined;
  const bits = written.family === 4 ? 32 : 128;
  if (length !== undefined && (!PREFIX_LENGTH.test(length) || Number(length) > bits)) return undefined;

  const hostBits = BigInt(bits - Number(length ?? bits));
  const { family, value } = hostBits <= 32n ? unmapped(written) : written;
  const prefix = value >> hostBits;
  return prefix << hostBits === value ? { family, hostBits, prefix } : undefined;
}

function parseAddress(text: string): Address | undefined {
  // Every IPv4 peer looks like this on a dual-stack socket. This path is three times faster than the one for IPv6.
  const written = parseWritten(text.replace(/^::ffff:(?=[0-9]+\.)/i, ''));
  return written && unmapped(written);
}

/** Parses an address in the family that it is written in; undefined if the text is not an address. */
function parseWritten(text: string): Address | undefined {
  if (IPV4.test(text)) return { family: 4, value: BigInt(ipv4Number(text)) };
  const value = ipv6Value(text);
  return value === undefined ? undefined : { family: 6, value };
}

function unmapped(address: Address): Address {
  const isMapped = address.family === 6 && address.value >> 32n === MAPPED;
  return isMapped ? { family: 4, value: address.value & 0xffff_ffffn } : address;
}

function ipv4Number(text: string): number {
  return text.split('.').reduce((value, octet) => value * 256 + Number(octet), 0);
}

// RFC 4291 section 2.2: eight groups. `::` stands for one or more groups of 0. An address with a zone (fe80::1%eth0) is
// refused, because a zone has a meaning on one machine only.
function ipv6Value(text: string): bigint | undefined {
  const [head = '', tail, ...more] = withoutDots(text).split('::');
  if (more.length > 0) return undefined;
  const [before, after] = [groupsOf(head), groupsOf(tail ?? '')];
  const missing = 8 - before.length - after.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;

  const groups = [...before, ...Array.from({ length: missing }, () => '0'), ...after];
  if (!groups.every((group) => IPV6_GROUP.test(group))) return undefined;
  return groups.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

function dotted(ipv4: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (ipv4 >> shift) & 0xffn).join('.');
}

function groupsOf(text: string): string[] {
  return text === '' ? [] : text.split(':');
}

/** `::ffff:192.0.2.1` as `::ffff:c000:201`. Other text with dots stays as it is, so no group matches it. */
function withoutDots(text: string): string {
  return text.replace(/(?<=:)[0-9.]+$/, (last) => {
    if (!IPV4.test(last)) return last;
    const value = ipv4Number(last);
    return `${Math.floor(value / 65_536).toString(16)}:${(value % 65_536).toString(16)}`;
  });
}
