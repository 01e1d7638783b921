// `node deploy/health.mjs <port>` ends with 0 if the service behind this port of health and metrics is ready. Otherwise
// it prints what is not ready. The image has no curl.
import { get } from 'node:http';

const [port] = process.argv.slice(2);
const request = get({ host: '127.0.0.1', port, path: '/readyz', timeout: 4_000 }, (response) => {
  if (response.statusCode === 200) process.exit(0);
  response.pipe(process.stderr);
  process.exitCode = 1;
});
request.on('timeout', () => request.destroy(new Error('no answer in 4 s')));
request.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
