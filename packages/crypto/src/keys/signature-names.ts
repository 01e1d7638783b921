export type SignatureHash = 'sha256' | 'sha384' | 'sha512';
export type RsaScheme = 'rsassa-pss' | 'rsassa-pkcs1-v1_5';
/** How ECDSA writes its two numbers: as ASN.1 (RFC 3279 section 2.2.3), or one after the other (IEEE P1363). */
export type EcdsaFormat = 'der' | 'ieee-p1363';
