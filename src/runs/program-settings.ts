/** What programs inside are told of the way out: in variables, and in the files of those that look there. */
import { ORIGIN } from './origin.ts';

const HOST = '127.0.0.1';
/** The port of proxies by custom. */
export const PROXY_PORT = 3128;
/** Of the gateway to MCP servers. */
export const MCP_PORT = 4142;
const PROXY = `http://${HOST}:${PROXY_PORT}`;
export const BUNDLE = '/run/cordon/ca.pem';
export const TRUSTSTORE = '/run/cordon/ca.jks';

/** curl, git, wget, pip and Go read the usual ones; Node when it is told to; npm its own. */
export function proxyVariables(): Record<string, string> {
  const env: Record<string, string> = {
    NODE_USE_ENV_PROXY: '1',
    npm_config_proxy: PROXY,
    npm_config_https_proxy: PROXY,
    npm_config_noproxy: 'localhost,127.0.0.1,::1',
  };
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY']) {
    env[name] = PROXY;
    env[name.toLowerCase()] = PROXY;
  }
  env.NO_PROXY = 'localhost,127.0.0.1,::1';
  env.no_proxy = env.NO_PROXY;
  return env;
}

/** Where each kind of program looks for the authorities it trusts: the system's, and this run's own. */
export function trustVariables(): Record<string, string> {
  const names = [
    'SSL_CERT_FILE',
    'NODE_EXTRA_CA_CERTS',
    'REQUESTS_CA_BUNDLE',
    'CURL_CA_BUNDLE',
    'GIT_SSL_CAINFO',
    'PIP_CERT',
    'CARGO_HTTP_CAINFO',
    'npm_config_cafile',
  ];
  return Object.fromEntries(names.map((name) => [name, BUNDLE]));
}

/** Java reads no variables but its own, and no PEM. Every Java program says once on standard error that it was told. */
export function javaVariables(password: string): Record<string, string> {
  const options = [
    ...['http', 'https'].flatMap((scheme) => [`${scheme}.proxyHost=${HOST}`, `${scheme}.proxyPort=${PROXY_PORT}`]),
    'http.nonProxyHosts=localhost|127.*|[::1]',
    `javax.net.ssl.trustStore=${TRUSTSTORE}`,
    'javax.net.ssl.trustStoreType=JKS',
    `javax.net.ssl.trustStorePassword=${password}`,
  ];
  return { JAVA_TOOL_OPTIONS: options.map((option) => `-D${option}`).join(' ') };
}

/** `/etc/<name>` → what stands there, for programs that are started without the variables. */
export function programFiles(): Record<string, string> {
  return {
    gitconfig: `[http]
	proxy = ${PROXY}
	sslCAInfo = ${BUNDLE}
[http "${new URL(ORIGIN).origin}"]
	proxy =
`,
    'pip.conf': `[global]
proxy = ${PROXY}
cert = ${BUNDLE}
disable-pip-version-check = true
`,
    wgetrc: `http_proxy = ${PROXY}
https_proxy = ${PROXY}
no_proxy = localhost,127.0.0.1,::1
ca_certificate = ${BUNDLE}
`,
  };
}
