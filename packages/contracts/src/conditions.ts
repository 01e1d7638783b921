/** The conditions of a request (RFC 9110 section 13.1): entity tags without their quotes. `*` matches any. */
export interface Conditions {
  ifMatch?: '*' | string[];
  ifNoneMatch?: '*' | string[];
}
