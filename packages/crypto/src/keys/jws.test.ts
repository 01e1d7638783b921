import { createPrivateKey, createPublicKey, createSecretKey } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { formatJws, jwsAlgsOf, jwsSigningInput, parseJws } from './jws.ts';
import { macOf } from './mac.ts';
import { isSignatureOf, signMessage } from './signatures.ts';

const claims = 'eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ';

test('HS256 gives the MAC of RFC 7515 appendix A.1', () => {
  const jws = parseJws(
    `eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.${claims}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk`,
  )!;
  expect(jws.header).toEqual({ typ: 'JWT', alg: 'HS256' });
  const k = 'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow';
  const key = createSecretKey(Buffer.from(k, 'base64url'));
  expect(Buffer.from(macOf({ algorithm: 'hmac-sha256', key }, Buffer.from(jws.signingInput)))).toEqual(
    Buffer.from(jws.signature),
  );
});

test('ES256 takes the signature of RFC 7515 appendix A.3', async () => {
  const signature = 'DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q';
  const jws = parseJws(`eyJhbGciOiJFUzI1NiJ9.${claims}.${signature}`)!;
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
    y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  };
  const own = { algorithm: 'ecdsa-p256', key: createPublicKey({ key: jwk, format: 'jwk' }) } as const;
  const terms = jwsAlgsOf('ecdsa-p256').get('ES256')!;
  expect(await isSignatureOf(own, Buffer.from(jws.signingInput), jws.signature, terms)).toBe(true);
  expect(await isSignatureOf(own, Buffer.from(`${jws.signingInput}A`), jws.signature, terms)).toBe(false);
});

test('EdDSA gives the JWS of RFC 8037 appendix A.4', async () => {
  const jwk = {
    kty: 'OKP',
    crv: 'Ed25519',
    d: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A',
    x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
  };
  const key = createPrivateKey({ key: jwk, format: 'jwk' });
  const input = jwsSigningInput({ alg: 'EdDSA' }, Buffer.from('Example of Ed25519 signing'));
  const signature = await signMessage(
    { algorithm: 'ed25519', key },
    Buffer.from(input),
    jwsAlgsOf('ed25519').get('EdDSA')!,
  );
  expect(formatJws(input, signature)).toBe(
    'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg',
  );
});

const encoded = (text: string) => Buffer.from(text).toString('base64url');

test.each([
  ['two parts', 'e30.e30'],
  ['four parts', 'e30.e30.e30.e30'],
  ['padding', 'e30=.e30.e30'],
  ['another spelling of the same bytes', 'e31.e30.e30'],
  ['a header that is no object', `${encoded('[]')}.e30.e30`],
  ['a header that is no JSON', `${encoded('{')}.e30.e30`],
  ['a header that is no UTF-8', `${Buffer.of(0x22, 0xff, 0x22).toString('base64url')}.e30.e30`],
  ['an extension', `${encoded('{"alg":"ES256","crit":["b64"],"b64":false}')}.e30.e30`],
])('a JWS with %s is none', (_what, text) => {
  expect(parseJws(text)).toBeUndefined();
});
