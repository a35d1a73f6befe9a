import { edit } from './edit.ts';
import { finish } from './finish.ts';
import { plan } from './plan.ts';
import { read } from './read.ts';
import { search } from './search.ts';
import { shell } from './shell.ts';
import type { Tool } from './tool.ts';

/** Every tool of the built-in agent, in the order that models are told of them. */
export const tools: readonly Tool[] = [shell, read, edit, search, plan, finish];
