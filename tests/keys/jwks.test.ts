import { createPublicKey, verify } from 'node:crypto';
import { SECOND_MS } from '@cardea/contracts/durations';
import { inEachProfile } from '@cardea/testkit/use-system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { at, base64, makeKey } from './ground.ts';

const VAULT = 'published';
const URL_OF = `/vaults/${VAULT}/keys:jwks`;

/** What an answer says, without what is of its own request. */
async function told(answer: Response): Promise<object> {
  return { ...((await answer.json()) as object), requestId: '', instance: '' };
}

inEachProfile((system, { admin, alice }) => {
  const ask = (headers: Record<string, string> = {}) => fetch(`${system.url}/api/v1${URL_OF}`, { headers });
  const kidsOf = async () => {
    system.passTime(11 * SECOND_MS);
    const { keys } = (await (await ask()).json()) as { keys: { kid: string }[] };
    return keys.map(({ kid }) => kid).toSorted();
  };

  beforeAll(async () => {
    await alice.createVault(VAULT);
    for (const name of ['ed25519', 'rsa-2048', 'ml-dsa-65', 'aes-256-gcm', 'hmac-sha256']) {
      await makeKey(alice, VAULT, name, name);
    }
  });

  describe('the JWK Set of a vault', () => {
    test('is there for nobody until an owner makes it public', async () => {
      const [hidden, absent] = [await ask(), await fetch(`${system.url}/api/v1/vaults/absent/keys:jwks`)];
      expect([hidden.status, absent.status]).toEqual([404, 404]);
      expect(await told(hidden)).toEqual(await told(absent));
      const changed = await alice.patch(`/vaults/${VAULT}`, { publicJwks: true }).expect(200);
      expect(changed.body.publicJwks).toBe(true);
      const [entry] = await admin.auditEntries({ vault: VAULT, action: 'vault.change' });
      expect(entry!.event.changes).toEqual({ publicJwks: { to: true } });
      expect((await ask()).status).toBe(200);
    });

    test('has public halves only, which verify what the keys sign', async () => {
      const answer = await ask();
      expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
      const { keys } = (await answer.json()) as { keys: Record<string, string>[] };
      expect(keys.map(({ kid }) => kid!).toSorted()).toEqual(['ed25519:v1', 'ml-dsa-65:v1', 'rsa-2048:v1']);
      for (const secret of ['d', 'p', 'q', 'k', 'priv']) {
        for (const key of keys) expect(key).not.toHaveProperty(secret);
      }
      const { body } = await alice.post(`${at(VAULT, 'ed25519')}:sign`, { messageBase64: base64('m') }).expect(200);
      const key = createPublicKey({ key: keys.find(({ kid }) => kid === 'ed25519:v1')!, format: 'jwk' });
      const signature = Buffer.from((body.signature as string).replace('cardea:v1:', ''), 'base64');
      expect(verify(null, Buffer.from('m'), key, signature)).toBe(true);
    });

    test('is cached and has an entity tag', async () => {
      const answer = await ask();
      const tag = answer.headers.get('etag')!;
      expect(answer.headers.get('cache-control')).toBe('public, max-age=60');
      const known = await ask({ 'If-None-Match': tag });
      expect([known.status, await known.text(), known.headers.get('cache-control')]).toEqual([
        304,
        '',
        'public, max-age=60',
      ]);
    });

    test('keeps old versions while they verify', async () => {
      const path = at(VAULT, 'ed25519');
      await alice.post(`${path}:rotate`).expect(200);
      const others = ['ml-dsa-65:v1', 'rsa-2048:v1'];
      expect(await kidsOf()).toEqual(['ed25519:v1', 'ed25519:v2', ...others]);
      await alice.patch(path, { minEncryptVersion: 2, minDecryptVersion: 2 }).expect(200);
      expect(await kidsOf()).toEqual(['ed25519:v2', ...others]);
      await alice.patch(`${at(VAULT, 'rsa-2048')}/versions/1`, { state: 'disabled' }).expect(200);
      await alice.delete(at(VAULT, 'ml-dsa-65')).expect(202);
      expect(await kidsOf()).toEqual(['ed25519:v2']);
      await alice.patch(`/vaults/${VAULT}`, { publicJwks: false }).expect(200);
      expect((await ask()).status).toBe(404);
    });
  });
});
