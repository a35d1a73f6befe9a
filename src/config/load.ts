import { parseSettingsText, settingsText } from '../base/settings-file.ts';
import type { Settings } from './schema.ts';

const defaultSettings: Settings = { version: 1, run: {} };

const KNOWN =
  'what there is: version, requester, run: {approvals, deliver, timeout, memory, cpus, pids, disk, record}, secrets: {sources: [{driver: vault | file | env, …}]}, network: {ca_file, proxy}, forges: [{host, token, user, auth, ca_file, plain_http, max_size}], mcp_folders: {NAME: /path}';

/** The user's settings; the defaults when there is no such file. Throws `DocumentError`, `StorageError`. */
export async function loadSettings(path: string): Promise<Settings> {
  const text = await settingsText(path);
  return text === null ? defaultSettings : parseSettings(path, text);
}

export async function parseSettings(path: string, text: string): Promise<Settings> {
  const { settingsSchema } = await import('./schema.ts');
  return parseSettingsText(path, text, settingsSchema, KNOWN);
}
