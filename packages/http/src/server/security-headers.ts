import helmet from 'helmet';

/**
 * Security headers of an interface that only speaks JSON: those that the OWASP REST Security Cheat Sheet asks for, and
 * two more. Headers that only matter for a document are left out, because every answer pays for them at both ends.
 */
export const securityHeaders = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] },
  },
  crossOriginResourcePolicy: { policy: 'same-origin' },
  referrerPolicy: { policy: 'no-referrer' },
  xFrameOptions: { action: 'deny' },
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
});

/** The same headers for answers that Express does not write. They do not depend on the request. */
export const constantHeaders: Readonly<Record<string, string>> = askOnce();

function askOnce(): Record<string, string> {
  const headers: Record<string, string> = {};
  const response = {
    setHeader: (name: string, value: string) => void (headers[name] = value),
    removeHeader: () => {},
  };
  securityHeaders({} as never, response as never, () => {});
  return headers;
}
