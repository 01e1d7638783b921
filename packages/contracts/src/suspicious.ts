/**
 * Every rule of suspicious input, and what trips it. Whatever trips one is dropped at once, recorded with the rule's
 * name, and counted in `cardea_suspicious_total{rule}`.
 */
export const suspiciousRules = {
  malformed_json: 'A body that is not JSON, has a key twice, or is nested beyond reason.',
  undecodable_body: 'A body that is not UTF-8.',
  oversized_body: 'A body beyond the limit.',
  oversized_header: 'A header beyond 16 KiB.',
  slow_request: 'A request that does not arrive in time.',
  broken_request: 'Bytes that are not HTTP.',
  odd_path: 'A path with percent-encoding, a backslash or two slashes in a row.',
  odd_query: 'A query with a parameter given twice.',
  no_host: 'A request without a Host header, or with more than one.',
  token_malformed: 'An Authorization header or a token that does not have the form of one.',
  token_too_long: 'A token longer than any we make.',
  token_unknown_key: 'A token that names a key we never had or no longer honour.',
  token_forged: 'A token whose signature, issuer, audience or claims are wrong.',
  refresh_unknown: 'A refresh token that we never made.',
  refresh_reuse: 'A refresh token that was used before: it or its successor is in the wrong hands.',
  credential_unknown: 'An application secret of the right form that we never made.',
  name_scanning: 'Many requests for names that do not exist.',
  denial_burst: 'Many refusals in a short time.',
  integrity_failure: 'Something stored that does not open: damaged, moved, or put there by somebody else.',
  wrong_peer: 'A service that calls what is not for it.',
  malformed_append: 'An append that is not its own canonical form.',
  event_id_reused: 'An event with the id of another one.',
  wrong_passphrase: 'A wrong passphrase for the seal.',
  unseal_guessing: 'Passphrases for the seal, one after another.',
  wrapped_dek_mismatch: 'A wrapped DEK that is not the one it is said to be.',
} as const;

export type SuspiciousRule = keyof typeof suspiciousRules;
