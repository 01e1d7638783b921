/**
 * The rules of suspicious input, and what trips each. Such a request is refused at once, recorded with the name of the
 * rule, and counted in `cardea_suspicious_total{rule}`.
 */
export const suspiciousRules = {
  malformed_json: 'A body that is not JSON, has a duplicate key, or is nested too deeply.',
  undecodable_body: 'A body that is not UTF-8.',
  oversized_body: 'A body larger than the limit.',
  oversized_header: 'Headers larger than 16 KiB.',
  slow_request: 'A request that does not arrive in time.',
  broken_request: 'Bytes that are not valid HTTP.',
  odd_path:
    'A path with another percent-encoding than %2F and %3A, a backslash or two slashes in a row, or a target that is neither a path nor a URL.',
  odd_query: 'A query with the same parameter twice.',
  no_host: 'A request without a Host header, or with more than one.',
  token_malformed: 'A malformed Authorization header or token.',
  token_too_long: 'A token longer than any that Cardea makes.',
  token_unknown_key: 'A token whose key does not exist or is no longer valid.',
  token_forged: 'A token whose signature, issuer, audience or claims are wrong.',
  refresh_unknown: 'A refresh token that Cardea did not make.',
  refresh_reuse: 'A refresh token that was used before: somebody has stolen it or its successor.',
  credential_unknown: 'A client secret of the right form that Cardea did not make.',
  name_scanning: 'Many requests for names that do not exist.',
  denial_burst: 'Many refusals in a short time.',
  integrity_failure: 'A stored value that does not open: it was damaged, moved or planted.',
  wrong_peer: 'A service that calls an endpoint of another service.',
  malformed_append: 'An append that is not in canonical form.',
  event_id_reused: 'An event with the id of another event.',
  wrong_passphrase: 'A wrong passphrase at unseal.',
  wrong_share: 'A share that was changed, or that belongs to another keyring.',
  unseal_guessing: 'Many passphrases or shares at unseal in a short time.',
  unwrap_budget: 'A service that unwraps the DEKs of more vaults, or more DEKs, than its budget allows.',
  wrapped_dek_mismatch: 'A wrapped DEK that does not belong to the vault and version in the request.',
  webhook_forged: 'A webhook whose signature is missing, malformed or wrong.',
  webhook_replayed: 'A webhook whose signature is right, but whose timestamp is more than 5 minutes away.',
} as const;

export type SuspiciousRule = keyof typeof suspiciousRules;
