import { createServer } from 'node:http';
import { EnvelopeKey, open, seal } from '@cardea/crypto/envelope';
import { hmacKey } from '@cardea/crypto/token-key';
import jsonwebtoken from 'jsonwebtoken';

// The baselines of the benchmark: a bare node:http server that answers the same bytes, and the same server when it also
// verifies one token with jsonwebtoken and opens one AES-256-GCM envelope of the same size. Neither records anything.

const body = process.env['BASELINE_BODY'] ?? '';
const keyBytes = new Uint8Array(32).fill(7);
const tokenKey = hmacKey(keyBytes);
const dek = new EnvelopeKey(1, keyBytes);
const context = new TextEncoder().encode('bench');
const envelope = seal(dek, Buffer.from((JSON.parse(body) as { value: string }).value), context);
const answer = JSON.parse(body) as object;
const headers = { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': Buffer.byteLength(body) };

const server = createServer((req, res) => {
  if (req.url === '/bare') {
    res.writeHead(200, headers).end(body);
    return;
  }
  jsonwebtoken.verify((req.headers.authorization ?? '').slice(7), tokenKey, { algorithms: ['HS256'] });
  const secret = { ...answer, value: Buffer.from(open(dek, envelope, context)).toString() };
  const text = JSON.stringify(secret);
  res.writeHead(200, { ...headers, 'Content-Length': Buffer.byteLength(text) }).end(text);
});

server.listen(Number(process.env['BASELINE_PORT']), '127.0.0.1', () => {
  process.send?.({ token: jsonwebtoken.sign({ sub: 'bench' }, tokenKey, { algorithm: 'HS256', expiresIn: 3600 }) });
});
process.on('disconnect', () => process.exit(0));
