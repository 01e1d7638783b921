/** What a client knows of the thing it asks about, as entity tags without their quotes; `*` is any (RFC 9110 section 13.1). */
export interface Conditions {
  ifMatch?: '*' | string[];
  ifNoneMatch?: '*' | string[];
}
