import * as z from 'zod';
import type { Guest } from '../guest.ts';

/** One thing the agent can do. Every call of one passes the loop's hook first. A tool is one file and one line in index.ts. */
export interface Tool {
  readonly name: string;
  readonly description: string;
  /** Strict: what it does not know is an error that the model reads. */
  readonly schema: z.ZodObject;
  /** Of one that another carries out: the schema as that one tells it, and what rules and records call it. */
  readonly from?: { readonly server: string; readonly tool: string; readonly parameters: object };
  /** What it is about to do, in a few words, for one line on a terminal. `input` has passed the schema. */
  brief(input: never): string;
  /** Never throws for what the guest or the model did: that is a result. */
  run(input: never, bench: Workbench): Promise<ToolResult>;
}

export interface ToolResult {
  readonly ok: boolean;
  /** As the model reads it. */
  readonly text: string;
  /** Set by `finish` alone. */
  readonly finished?: { readonly summary: string; readonly success: boolean };
}

/** What tools work with: one for a run. */
export interface Workbench {
  readonly guest: Guest;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Characters of a result that a model is shown. */
  readonly shown: number;
  /** The shell's working folder, kept between calls. */
  cwd: string;
  /** Counts outputs that were kept in files. */
  kept: number;
  plan: readonly PlanStep[];
}

export interface PlanStep {
  readonly step: string;
  readonly status: 'pending' | 'active' | 'done';
}

/** As models are told of it. */
export interface ToolDescription {
  readonly name: string;
  readonly description: string;
  readonly parameters: object;
}

export function describe({ name, description, schema, from }: Tool): ToolDescription {
  if (from !== undefined) return { name, description, parameters: from.parameters };
  const { $schema: _, ...parameters } = z.toJSONSchema(schema, { io: 'input' }) as Record<string, unknown>;
  return { name, description, parameters };
}

/** Text without NUL: it cannot be part of a path or of a program's arguments. */
export const line = (most: number) =>
  z
    .string()
    .max(most)
    .refine((text) => !text.includes('\0'), 'must not contain a NUL character');

export const path = line(4_096).min(1);

/** As the guest knows it: relative to the repository, `~` is the home folder. */
export function guestPath(text: string, { env }: Workbench): string {
  if (text.startsWith('/')) return text;
  if (text === '~' || text.startsWith('~/')) return `${env.HOME ?? '/home/agent'}${text.slice(1)}`;
  return `/workspace/${text}`;
}

export const failure = (text: string): ToolResult => ({ ok: false, text });
export const success = (text: string): ToolResult => ({ ok: true, text });
