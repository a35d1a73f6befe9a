import type { Command } from 'commander';
import { type Context, newCommand } from './context.ts';
export function command(_: Context): Command {
  return newCommand();
}
