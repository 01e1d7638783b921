import { createPrivateKey, createPublicKey, createSecretKey } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { formatJws, jwsAlgsOf, jwsSigningInput, parseJws } from './jws.ts';
import type { KeyAlgorithm } from './key-algorithms.ts';
import { isMacOf, macOf } from './mac.ts';
import { isSignatureOf, signMessage } from './signatures.ts';
import type { SignatureKey } from './signatures.ts';

// RFC 7520 section 4, as the authors publish it in https://github.com/ietf-jose/cookbook.
const payload =
  "It’s a dangerous business, Frodo, going out your door. You step onto the road, and if you don't keep your feet, there’s " +
  'no knowing where you might be swept off to.';
const kid = 'bilbo.baggins@hobbiton.example';

const rsa = createPrivateKey({
  format: 'jwk',
  key: {
    kty: 'RSA',
    n:
      'n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-' +
      'QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtI' +
      'QbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw',
    e: 'AQAB',
    d:
      'bWUC9B-EFRIo8kpGfh0ZuyGPvMNKvYWNtB_ikiH9k20eT-O1q_I78eiZkpXxXQ0UTEs2LsNRS-8uJbvQ-A1irkwMSMkK1J3XTGgdrhCku9gRldY7sNA_AKZGh-' +
      'Q661_42rINLRCe8W-nZ34ui_qOfkLnK9QWDDqpaIsA-bMwWWSDFu2MUBYwkHTMEzLYGqOe04noqeq1hExBTHBOBdkMXiuFhUq1BU6l-DqEiWxqg82sXt2h-LMnT3' +
      '046AOYJoRioz75tSUQfGCshWTBnP5uDjd18kKhyv07lhfSJdrPdM5Plyl21hsFf4L_mHCuoFau7gdsPfHPxxjVOcOpBrQzwQ',
    p:
      '3Slxg_DwTXJcb6095RoXygQCAZ5RnAvZlno1yhHtnUex_fp7AZ_9nRaO7HX_-SFfGQeutao2TDjDAWU4Vupk8rw9JR0AzZ0N2fvuIAmr_WCsmGpeNqQnev1T7I' +
      'yEsnh8UMt-n5CafhkikzhEsrmndH6LxOrvRJlsPp6Zv8bUq0k',
    q:
      'uKE2dh-cTf6ERF4k4e_jy78GfPYUIaUyoSSJuBzp3Cubk3OCqs6grT8bR_cu0Dm1MZwWmtdqDyI95HrUeq3MP15vMMON8lHTeZu2lmKvwqW7anV5UzhM1iZ7z4' +
      'yMkuUwFWoBvyY898EXvRD-hdqRxHlSqAZ192zB3pVFJ0s7pFc',
    dp:
      'B8PVvXkvJrj2L-GYQ7v3y9r6Kw5g9SahXBwsWUzp19TVlgI-YV85q1NIb1rxQtD-IsXXR3-TanevuRPRt5OBOdiMGQp8pbt26gljYfKU_E9xn-RULHz0-ed9E9' +
      'gXLKD4VGngpz-PfQ_q29pk5xWHoJp009Qf1HvChixRX59ehik',
    dq:
      'CLDmDGduhylc9o7r84rEUVn7pzQ6PF83Y-iBZx5NT-TpnOZKF1pErAMVeKzFEl41DlHHqqBLSM0W1sOFbwTxYWZDm6sI6og5iTbwQGIC3gnJKbi_7k_vJgGHwH' +
      'xgPaX2PnvP-zyEkDERuf-ry4c_Z11Cq9AqC2yeL6kdKT1cYF8',
    qi:
      '3PiqvXQN0zwMeE-sBvZgi289XP9XCQF3VWqPzMKnIgQp7_Tugo6-NZBKCQsMf3HaEGBjTVJs_jcK8-TRXvaKe-7ZMaQj8VfBdYkssbu0NKDDhjJ-GtiseaDVWt' +
      '7dcH0cfwxgFUHpQh7FoCrjFJ6h6ZEpMF6xmujs4qMpPz8aaI4',
  },
});

const p521 = createPublicKey({
  format: 'jwk',
  key: {
    kty: 'EC',
    crv: 'P-521',
    x: 'AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt',
    y: 'AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1',
  },
});

const rs256 =
  'MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmD' +
  'LJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2' +
  'aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg';
const ps384 =
  'cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvW' +
  'Xzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6ui' +
  'P1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw';
const es512 =
  'AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD89' +
  '0jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2';

const inputOf = (header: object) => jwsSigningInput({ ...header }, Buffer.from(payload));
const termsOf = (algorithm: KeyAlgorithm, alg: string) => jwsAlgsOf(algorithm).get(alg)!;

test('RS256 gives the JWS of RFC 7520 section 4.1', async () => {
  const input = inputOf({ alg: 'RS256', kid });
  const signature = await signMessage(
    { algorithm: 'rsa-2048', key: rsa },
    Buffer.from(input),
    termsOf('rsa-2048', 'RS256'),
  );
  expect(formatJws(input, signature)).toBe(`${input}.${rs256}`);
});

const signed: [alg: string, section: string, own: SignatureKey, signature: string][] = [
  ['RS256', '4.1', { algorithm: 'rsa-2048', key: createPublicKey(rsa) }, rs256],
  ['PS384', '4.2', { algorithm: 'rsa-2048', key: createPublicKey(rsa) }, ps384],
  ['ES512', '4.3', { algorithm: 'ecdsa-p521', key: p521 }, es512],
];

test.each(signed)('%s takes the JWS of RFC 7520 section %s, and no other', async (alg, _section, own, signature) => {
  const jws = parseJws(`${inputOf({ alg, kid })}.${signature}`)!;
  expect(jws.header).toEqual({ alg, kid });
  const terms = termsOf(own.algorithm, alg);
  expect(await isSignatureOf(own, Buffer.from(jws.signingInput), jws.signature, terms)).toBe(true);
  const other = Buffer.from(inputOf({ kid, alg }));
  expect(await isSignatureOf(own, other, jws.signature, terms)).toBe(false);
});

test('HS256 gives the JWS of RFC 7520 section 4.4', () => {
  const key = createSecretKey(Buffer.from('hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg', 'base64url'));
  const own = { algorithm: 'hmac-sha256', key } as const;
  const input = inputOf({ alg: 'HS256', kid: '018c0ae5-4d9b-471b-bfd6-eef314bc7037' });
  const mac = macOf(own, Buffer.from(input));
  expect(formatJws(input, mac)).toBe(`${input}.s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0`);
  expect(isMacOf(own, Buffer.from(`${input}A`), mac)).toBe(false);
});
