/** Runs with MCP servers made with the official SDK, and a guest that speaks to the gateway with curl. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Finished, Installation, Project } from '../project.ts';

const modules = join(import.meta.dirname, '../../../node_modules');

/** What a fixture imports, with all that this imports. */
const PACKAGES = [
  '@modelcontextprotocol/sdk',
  'zod',
  'zod-to-json-schema',
  'ajv',
  'ajv-formats',
  'fast-deep-equal',
  'fast-uri',
  'json-schema-traverse',
  'require-from-string',
];

export class McpSite extends Installation {
  readonly project = new Project(join(this.root, 'repository'));

  readonly #settings: string;

  constructor(policy: string, names: readonly string[] = ['docs'], packages: readonly string[] = []) {
    super();
    this.#settings = serverFolder(this.root, names, packages);
    this.project.write('readme.txt', 'of the repository\n').write('.cordon/policy.yaml', `version: 1\n${policy}`);
    this.project.commit('first');
  }

  /** Further lines of the user's settings. */
  configure(more: string): void {
    writeFileSync(join(this.root, '.config/cordon/config.yaml'), this.#settings + more);
  }

  /** A shell script inside that has `mcp SERVER METHOD PARAMS` and `call SERVER TOOL ARGUMENTS`: what comes back is printed. */
  script(text: string, ...options: string[]): Promise<Finished> {
    return this.type('run', '--json', '-w', this.project.dir, ...options, '--', 'sh', '-c', `${PRELUDE}${text}`).done;
  }
}

/** The servers' program and what it is made of, as a user of the machine would have installed it, named in that user's settings. */
export function serverFolder(
  root: string,
  names: readonly string[] = ['docs'],
  packages: readonly string[] = [],
): string {
  const folder = join(root, 'server');
  mkdirSync(folder);
  for (const name of [...PACKAGES, ...packages])
    cpSync(join(modules, name), join(folder, 'node_modules', name), { recursive: true, dereference: true });
  cpSync(join(import.meta.dirname, 'stdio-server.mjs'), join(folder, 'server.mjs'));
  const settings = `version: 1\nmcp_folders: {${names.map((name) => `${name}: ${folder}`).join(', ')}}\n`;
  mkdirSync(join(root, '.config/cordon'), { recursive: true });
  writeFileSync(join(root, '.config/cordon/config.yaml'), settings);
  return settings;
}

const PRELUDE = `printf 'Authorization: Bearer %s\\n' "$CORDON_MCP_TOKEN" > /tmp/token
mcp() { curl -sS --noproxy '*' -w '\\n' -H @/tmp/token -H 'Content-Type: application/json' \\
  -d "{\\"jsonrpc\\":\\"2.0\\",\\"id\\":1,\\"method\\":\\"$2\\",\\"params\\":\${3:-{\\}}}" "$CORDON_MCP_URL/$1"; }
call() { mcp "$1" tools/call "{\\"name\\":\\"$2\\",\\"arguments\\":\${3:-{\\}}}"; }
`;
