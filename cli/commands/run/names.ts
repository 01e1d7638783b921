import { usage } from '../../failure.ts';

// Variables that change which code a program loads or runs, which files it takes its settings from, or whom it trusts. Somebody
// who may only write secrets must not choose that. No list can be whole: each program has its own.
const LOADERS = [
  // Shells and their tools
  'PATH|HOME|SHELL|IFS|ENV|BASH_ENV|BASH_FUNC_.*|SHELLOPTS|BASHOPTS|CDPATH|PS4|PROMPT_COMMAND|ZDOTDIR|XDG_CONFIG_HOME|TMPDIR',
  'EDITOR|VISUAL|PAGER|BROWSER|LESSOPEN|GIT_.*|SSH_ASKPASS',
  // Libraries of the system
  'LD_.*|DYLD_.*|GCONV_PATH|GLIBC_TUNABLES|OPENSSL_(?:CONF|MODULES|ENGINES)',
  // Languages and their tools
  'NODE_(?:OPTIONS|PATH|EXTRA_CA_CERTS|TLS_REJECT_UNAUTHORIZED)|NPM_CONFIG_.*|PYTHON.*|PERL5?(?:LIB|OPT|DB)',
  'RUBY(?:OPT|LIB)|BUNDLE_.*|LUA_INIT(?:_.*)?|PHPRC|RUSTC_WRAPPER|DOTNET_STARTUP_HOOKS|CORECLR_.*',
  'JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|_JAVA_OPTIONS|CLASSPATH|MAVEN_OPTS',
  // Through whom a program speaks to others, and which certificates it believes
  '.*_PROXY|HOSTALIASES|LOCALDOMAIN|RES_OPTIONS',
  'SSL_CERT_(?:FILE|DIR)|NIX_SSL_CERT_FILE|(?:CURL|REQUESTS|AWS)_CA_BUNDLE|CURL_HOME|GRPC_DEFAULT_SSL_ROOTS_FILE_PATH',
  // A `cardea` that the program runs would give its credentials to another server
  'CARDEA_.*|XDG_STATE_HOME',
];
const LOADER = new RegExp(`^(?:${LOADERS.join('|')})$`);

/**
 * The variable of a name: `db/password` is `DB_PASSWORD`.
 * @throws Failure for a variable that says which code programs load
 */
export function toVariable(path: string, name: string): string {
  const variable = name
    .toUpperCase()
    .replaceAll(/[^A-Z0-9]/g, '_')
    .replace(/^(?=\d)/, '_');
  if (!LOADER.test(variable)) return variable;
  throw usage(
    `${path} would be ${variable}, which says what code programs run or whom they trust. Choose its name with --map, or move it`,
  );
}
