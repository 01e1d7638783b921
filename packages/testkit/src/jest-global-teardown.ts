import './jest-global-setup.ts';

/** Stops the servers that the global setup has started. */
export default async function stopTestServers(): Promise<void> {
  await Promise.all((globalThis.cardeaTestServers ?? []).map((server) => server.stop()));
}
