import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';

inEachProfile((system, { admin, alice }) => {
  test.each(['\u0000', '\n', '\u0085', '\u2028', '\u2029', '\u202e', '\u2066', '\u200e'])(
    'no text that the audit log shows has the character %j: descriptions and metadata are refused with it',
    async (hidden) => {
      const text = `payments${hidden}of today`;
      const code = hidden.codePointAt(0)!.toString(16);
      await alice.createVault(`plain-${code}`);
      const vault = `/vaults/plain-${code}`;
      const tries = [
        () => alice.post('/vaults', { name: `other-${code}`, description: text }),
        () => alice.patch(vault, { description: text }),
        () => admin.post('/applications', { name: `app-${code}`, description: text }),
        () => alice.put(`${vault}/secrets/s`, { value: text, metadata: { team: text } }),
        () => alice.put(`${vault}/secrets/s`, { value: text, metadata: { [text]: 'team' } }),
      ];
      for (const send of tries) {
        const refused = await send();
        expect(refused.status).toBe(400);
        const [entry] = await admin.auditEntries({ decision: 'deny' });
        expect(entry!.event).toMatchObject({ requestId: refused.headers['x-request-id'], reason: 'invalid_request' });
      }
    },
  );

  test('a stranger writes no command of a terminal into the log by the name of their program', async () => {
    const refused = await system.stranger.get('/nothing').set('User-Agent', 'curl\u009b2J\u0085/8').expect(404);
    const [entry] = await admin.auditEntries({ requestId: refused.headers['x-request-id']! });
    expect(entry!.event.source?.userAgent).toBe('curl\ufffd2J\ufffd/8');
  });
});
