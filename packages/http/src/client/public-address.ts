import { isInside } from '@cardea/contracts/cidr';

const ROUTED = ['0.0.0.0/0', '2000::/3'];

/** Networks that are not for everybody, of the IANA registries of special-purpose addresses (RFC 6890). */
const SPECIAL = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // Teredo, benchmarks, ORCHID.
  '2001::/23',
  '2001:db8::/32',
  // 6to4 carries an IPv4 address, which may be a private one.
  '2002::/16',
  '3fff::/20',
];

/**
 * Whether an address is one that anybody on the Internet may connect to: not private, link-local, loopback, multicast,
 * unique local or reserved. IPv4 carried in IPv6 (`::ffff:10.0.0.1`) is judged as IPv4. All of IPv6 outside of
 * `2000::/3` is refused, and with it addresses that carry IPv4 (`64:ff9b::/96`). Text that is no address is refused.
 */
export function isPublicAddress(address: string): boolean {
  return isInside(address, ROUTED) && !isInside(address, SPECIAL);
}
