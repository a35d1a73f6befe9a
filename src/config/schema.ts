import { z } from 'zod';
import { parseDuration } from '../base/duration.ts';
import { parseSize } from '../base/size.ts';
import { forgesSettings } from './forges.ts';
import { measured } from './measured.ts';
import { secretsSettings } from './secret-sources.ts';

const size = measured(parseSize, '2g');
const duration = measured(parseDuration, '30m');

const PROXY = /^http:\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})\/?$/;

/** The way out of the machine, where its network has conditions. */
const networkSettings = z.strictObject({
  /** Authorities trusted besides the system's, for what hosts show the gateway. */
  ca_file: z.string().regex(/^\//, 'write an absolute path').optional(),
  /** Everything but private hosts goes through it, by CONNECT. */
  proxy: z
    .string()
    .transform((text, context) => {
      const [, host = '', port = ''] = PROXY.exec(text) ?? [];
      if (host !== '' && Number(port) > 0 && Number(port) < 65_536) return { host, port: Number(port) };
      context.addIssue({
        code: 'custom',
        message: text.includes('@')
          ? 'a proxy that wants a name and a password is not supported; run a relay on this machine that knows them'
          : 'write http://HOST:PORT',
      });
      return z.NEVER;
    })
    .optional(),
});

export type NetworkSettings = z.infer<typeof networkSettings>;

/**
 * `$XDG_CONFIG_HOME/cordon/config.yaml`: what a user wants by default. Nothing here widens what a run's agent may do.
 */
export const settingsSchema = z.strictObject({
  version: z.literal(1),
  /** Who runs are recorded as; by default the login name. */
  requester: z
    .string()
    .regex(/^user:[a-z0-9._@-]{1,64}$/, 'write user:NAME, the name in lower case')
    .optional(),
  run: z
    .strictObject({
      approvals: z.enum(['prompt', 'queue', 'deny']).optional(),
      deliver: z.enum(['branch', 'patch', 'none']).optional(),
      timeout: duration.optional(),
      memory: size.optional(),
      cpus: z.number().positive().optional(),
      pids: z.number().int().positive().optional(),
      disk: size.optional(),
      record: z.boolean().optional(),
    })
    .default({}),
  secrets: secretsSettings.optional(),
  network: networkSettings.optional(),
  forges: forgesSettings.optional(),
  /** What MCP servers of policies are made of, where that does not lie below /usr: by the server's name. */
  mcp_folders: z
    .record(z.string().regex(/^[a-z][a-z0-9-]{0,31}$/), z.string().regex(/^\/./, 'write an absolute path'))
    .optional(),
});

export type Settings = z.infer<typeof settingsSchema>;
